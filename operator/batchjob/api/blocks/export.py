"""The block of type export, and the places to write to."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel
from batchjob.api.source import Location


class ExportFormat(StrEnum):
    """How exported files are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Column(Model):
    """One column of an export."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Field of the item; a dot reaches into nested data."
    )
    header: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Name of the column in the file; default: the field's."
    )


class Destination(Location):
    """A place to write files below."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.url.startsWith('s3://') || self.url.startsWith('file:///')",
                    "destination.url must begin with s3:// or file:///",
                    field=".url",
                ),
                cel(
                    "!self.url.contains('?') && !self.url.contains('#')",
                    "destination.url must not contain ? or #: files are written below it. Write %3F or %23.",
                    field=".url",
                ),
            ]
        }
    )


class Export(Model):
    """Type export: items out to files."""

    format: ExportFormat = Field(ExportFormat.CSV, description="How the files are written.")
    columns: Annotated[list[Column], Field(min_length=1, max_length=256)] | None = Field(
        None,
        description="Columns and their order; default: the fields of the first item, in its order, but those whose "
        "names begin with batchjob/. Those for which no item has a value are named in "
        "manifest.json, as emptyColumns.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.all(c, self.exists_one(d, "
                    "(has(d.header) ? d.header : d.name) == (has(c.header) ? c.header : c.name)))",
                    "export.columns must not name a column of the file twice: give one of them another header",
                )
            ]
        },
    )
    escape_formulas: bool = Field(
        True,
        description="For csv: put an apostrophe before text that a spreadsheet would run as a formula, which is what "
        "begins with =, +, -, @, a tab or a carriage return and is not a number such as -5 or +1.5e3. "
        "Set it to false where programs read the files.",
    )
    destination: Destination = Field(
        description="Where to write: part files and manifest.json, in a folder of the run's own below the url, "
        "<name>-<start of its uid>/; status.results.uri says where."
    )
    rows_per_file: Annotated[int, Field(ge=1, le=10_000)] = Field(1000, description="Rows in one part file.")
