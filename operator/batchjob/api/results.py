"""Where the results of items go."""

from typing import Annotated

from pydantic import Field

from batchjob.api.base import Model
from batchjob.api.blocks.export import Destination
from batchjob.api.source import SecretKey


class Table(Model):
    """A table of a PostgreSQL."""

    dsn_secret_ref: SecretKey = Field(
        description="Key of a Secret with the connection string, such as "
        "postgresql://user:password@host:5432/database?sslmode=require. The user needs SELECT, INSERT and UPDATE."
    )
    name: Annotated[str, Field(min_length=1, max_length=127, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$")] = Field(
        description="Name of the table, with its schema or without, as PostgreSQL keeps it (mostly in lower case)."
    )


class Results(Model):
    """Where the results of the items go."""

    destination: Destination | None = Field(
        None,
        description="Where to write results: JSONL part files and manifest.json, in a folder of the run's own below "
        "the url, <name>-<start of its uid>/; status.results.uri says where. They are written while the run goes on, "
        "a part each 8 MiB or 30 s. Not for type export, and not where the processor seals files of its own. "
        "Default: they stay in the store for as long as spec.retention says, and may have 256 MiB there (or what the "
        "operator's settings say); above that it fails, reason ResultsTooLarge.",
    )
    table: Table | None = Field(
        None,
        description="A table of a PostgreSQL to write results to as well: a row an item, in place of the one with the "
        "same id. It has a column id (text, with a unique index) and columns with the names of the results' fields, or "
        "a column result (jsonb) that takes all of them. Rows are written together with the parts of the destination, "
        "or at the end where there is none.",
    )
