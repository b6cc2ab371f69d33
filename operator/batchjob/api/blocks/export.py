"""The block of type export, and the places to write to."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel
from batchjob.api.source import Location

ITEM_ROWS: Final = 1000
RANGE_ROWS: Final = 100_000  # a second or two of work: seldom enough to cost nothing, often enough to lose little

# Of a spec as a whole.
SPEC_RULES: Final = (
    cel(
        "self.type != 'export' || !has(self.results)",
        "spec.results is not for type export: its files are its results, and "
        "spec.export.destination says where they go. Remove spec.results.",
        field=".results",
    ),
    cel(
        "self.type == 'export' || !has(self.source) || !has(self.source.sql) || !has(self.source.sql.partitionBy)",
        "source.sql.partitionBy is for type export: remove it, and each row is an item",
        field=".source.sql.partitionBy",
    ),
    cel(
        "!has(self.export) || !has(self.export.rowsPerFile) || self.export.rowsPerFile <= 10000 "
        "|| (has(self.source) && has(self.source.sql) && has(self.source.sql.partitionBy))",
        "export.rowsPerFile may be above 10000 only with source.sql.partitionBy",
        field=".export.rowsPerFile",
    ),
)


class ExportFormat(StrEnum):
    """How exported files are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


class Compression(StrEnum):
    """How exported text is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


FIELDS_NOTE: Final = "fields"  # of a run, by its loader: the first item's fields, a JSON list


class ColumnFormat(StrEnum):
    """What the values of a column are: what each of the file formats can write, and text can be read as without guess.

    How a value looks to people, such as 31.12.2026, is for whoever shows it to them.
    """

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


class Column(Model):
    """One column of an export."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Field of the item; a dot reaches into nested data."
    )
    header: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Name of the column in the file; default: the field's."
    )
    format: ColumnFormat | None = Field(
        None,
        description="What its values are: text, integer, number, boolean (also from true, false, t, f, 1, 0), date or "
        "datetime (from ISO 8601; without a zone: UTC). Text that says it is read as such; an item whose value cannot "
        "be is given up, class invalid-input. Default: as they come.",
    )


class Destination(Location):
    """A place to write files below."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "['s3://', 'gs://', 'az://', 'file:///'].exists(x, self.url.startsWith(x))",
                    "destination.url must begin with s3://, gs://, az:// or file:///",
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

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.compression == 'none' || self.format in ['csv', 'jsonl']",
                    "export.compression is for csv and jsonl: the other formats pack themselves. Remove it",
                    field=".compression",
                ),
                cel("!self.bom || self.format == 'csv'", "export.bom is for csv: remove it", field=".bom"),
                cel(
                    "!self.singleFile || self.format in ['csv', 'jsonl']",
                    "export.singleFile is for csv and jsonl, whose parts can be joined. Remove it and raise "
                    "rowsPerFile, or read the parts together",
                    field=".singleFile",
                ),
            ]
        }
    )

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
    bom: bool = Field(
        False,
        description="For csv: begin files with a byte order mark, by which Excel knows that they are UTF-8.",
    )
    compression: Compression = Field(
        Compression.NONE,
        description="For csv and jsonl: pack the files, as .gz or .zst; the same rows give the same bytes.",
    )
    single_file: bool = Field(
        False,
        description="For csv and jsonl: join the part files into one at the end, <name>.csv, which takes their place. "
        "rowsPerFile says how much is written, and done again, at once.",
    )
    destination: Destination = Field(
        description="Where to write: part files and manifest.json, in a folder of the run's own below the url, "
        "<name>-<start of its uid>/; status.results.uri says where."
    )
    rows_per_file: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Rows in one part file: at most 10,000, default 1,000; with source.sql.partitionBy about so many, "
        "default 100,000.",
    )

    def part_rows(self, *, of_ranges: bool) -> int:
        """Rows of a part; `of_ranges`: where an item is a range of a query's key."""
        return self.rows_per_file or (RANGE_ROWS if of_ranges else ITEM_ROWS)
