"""Where a run's items come from, and the references (Secrets, ConfigMaps, claims) its pods mount."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, ItemId, Key, Model, Name, Url, cel
from batchjob.api.status import ErrorClass

MAX_INLINE_BYTES: Final = 64 * 1024  # of spec.source.items as JSON: keeps the object small for every watcher


class SourceFormat(StrEnum):
    """How a file of items is written."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    ITEMS = "items"  # JSON lines of {id, data}, as spec.source.items has them: data that has a field `id` keeps it


FORMATS: Final = (
    "How the file is written. jsonl, json, csv: each record is an item, and its field idField names it. items: JSON "
    "lines of {id, data}, as spec.source.items has them."
)


class OnBadItem(StrEnum):
    """What a record that is wrong means."""

    FAIL = "fail"
    SKIP = "skip"


Scalar = Annotated[
    str | int, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 4096})
]  # what an inline item may hold; deeper data goes through `json`


class InlineItem(Model):
    """One item written into the manifest."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.data) != has(self.json)",
                    "an item has either data (a flat map) or json (a JSON object as text): set exactly one",
                )
            ]
        }
    )

    id: ItemId = Field(description="Name of the item, unique in its run.")
    data: Annotated[dict[str, Scalar], Field(max_length=64)] | None = Field(
        None, description="The item's fields: strings and integers."
    )
    json_text: Annotated[str, Field(max_length=4096)] | None = Field(
        None, alias="json", description="The item's fields as the text of a JSON object, for nested data."
    )


class FileRef(Model):
    """A key of a ConfigMap in the BatchJob's namespace that holds a file of items."""

    name: Name = Field(description="Name of the ConfigMap, in the namespace of the BatchJob.")
    key: Key = Field(description="Key whose value is the file.")
    format: SourceFormat = Field(SourceFormat.JSONL, description=FORMATS)


class SecretName(Model):
    """A Secret in the BatchJob's namespace."""

    name: Name = Field(description="Name of the Secret, in the namespace of the BatchJob.")


class SecretKey(Model):
    """One key of a Secret in the BatchJob's namespace."""

    name: Name = Field(description="Name of the Secret, in the namespace of the BatchJob.")
    key: Key = Field(description="Key in the Secret.")


class SecretFile(SecretKey):
    """A key of a Secret in the BatchJob's namespace that holds a file of items."""

    format: SourceFormat = Field(SourceFormat.JSONL, description=FORMATS)


class CaBundle(Model):
    """A ConfigMap with the certificates to trust for a private endpoint."""

    name: Name = Field(description="Name of the ConfigMap, in the namespace of the BatchJob.")
    key: Key = Field("ca.crt", description="Key that holds the PEM certificates.")


class Location(Model):
    """A place in an object store, on a mounted claim or on the web."""

    url: Url = Field(
        description="s3://bucket/key, gs://bucket/key, az://container/key, file:///path below a mount of "
        "spec.worker.volumes, or (sources only) https://host/path.",
    )
    endpoint: Url | None = Field(
        None,
        description="Endpoint of the object store, such as http://minio.storage:9000; for az:// with the account in "
        "its path where the server has it there. Default: AWS by region, Google's or Azure's own.",
    )
    credentials_secret_ref: SecretName | None = Field(
        None,
        description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, if any); for gs:// with "
        "GOOGLE_SERVICE_ACCOUNT_KEY, the JSON of a key file; for az:// with AZURE_STORAGE_ACCOUNT_NAME and either "
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or the three of AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and "
        "AZURE_TENANT_ID. Without it these variables of the worker count (spec.worker.envFrom), else nobody signs in.",
    )
    ca_bundle_ref: CaBundle | None = Field(
        None, description="Certificates to trust for this endpoint, besides the system's."
    )


class UriSource(Location):
    """A file of items by URL."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "['s3://', 'gs://', 'az://', 'https://', 'file:///'].exists(x, self.url.startsWith(x))",
                    "source.uri.url must begin with s3://, gs://, az://, https:// or file:///",
                    field=".url",
                ),
                cel(
                    "self.url.startsWith('file:') || !self.url.matches('://([/?#:]|$)')",
                    "source.uri.url has no host and no bucket: write https://host/path or s3://bucket/key",
                    field=".url",
                ),
                cel(
                    "self.url.startsWith('https:') || !self.url.matches('[?#]')",
                    "source.uri.url must not contain ? or #, but where it begins with https://. Write %3F or %23.",
                    field=".url",
                ),
            ]
        }
    )

    format: SourceFormat = Field(SourceFormat.JSONL, description=FORMATS)


class ResultsOf(Model):
    """The results of another BatchJob; the run waits until that one is Complete."""

    batch_job_name: Name = Field(description="Name of the other BatchJob, in the same namespace.")


class RedriveFilter(Model):
    """Which dead letters: those that fit every member."""

    error_class: Annotated[list[ErrorClass], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Those of one of these error classes."
    )
    item_ids: Annotated[list[ItemId], Field(min_length=1, max_length=1000)] | None = Field(
        None,
        description="Those of these items. One that is not among the dead letters ends the run as InvalidSource.",
    )


class RedriveOf(Model):
    """The dead letters of another BatchJob; the run waits until that one has ended, in whatever way."""

    batch_job_name: Name = Field(description="Name of the other BatchJob, in the same namespace.")
    filter: RedriveFilter | None = Field(None, description="Which of its dead letters. Default: all.")


class Sql(Model):
    """The rows of a PostgreSQL query."""

    dsn_secret_ref: SecretKey = Field(
        description="Key of a Secret with the connection string, such as "
        "postgresql://user:password@host:5432/database?sslmode=require."
    )
    query: Annotated[str, Field(min_length=1, max_length=16384)] = Field(
        description="One SELECT; each row is an item, and its column idField names it. It runs once, in a read-only "
        "transaction, and its rows come in their order. What JSON has no type for (decimals, dates, uuids, bytea) is "
        "the text that PostgreSQL writes for it."
    )
    partition_by: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None,
        description="For type export: a column of the query: number, date or text. An item is then a range of it, "
        "about export.rowsPerFile rows, which a pod reads straight into its part: rows never pass through the store, "
        "and all pods read side by side, each range in a transaction of its own. Without it one pod reads all rows.",
    )


# Of spec.source: exactly one of them.
MEMBERS: Final = ("items", "configMapRef", "secretRef", "uri", "resultsOf", "redriveOf", "sql")


class Source(Model):
    """Where the items come from: exactly one member."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    f"[{', '.join(f'has(self.{name})' for name in MEMBERS)}].exists_one(x, x)",
                    f"spec.source needs exactly one of {', '.join(MEMBERS)}",
                ),
                # In characters, and without what JSON puts between them: the operator counts all of it. Here it keeps
                # objects out that would fill the memory of whoever watches.
                cel(
                    "!has(self.items) || self.items.map(i, (has(i.json) ? size(i.json) : 0) + (has(i.data) ? "
                    "i.data.map(k, size(k) + (type(i.data[k]) == string ? size(i.data[k]) : 1)).sum() : 0)).sum() "
                    f"<= {MAX_INLINE_BYTES}",
                    f"spec.source.items may have {MAX_INLINE_BYTES} bytes: put the items into a file, "
                    "spec.source.configMapRef or spec.source.uri",
                    field=".items",
                ),
            ]
        }
    )

    items: Annotated[list[InlineItem], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Items in the manifest itself: at most 1,000 and 64 KiB. For more, use a file."
    )
    config_map_ref: FileRef | None = Field(None, description="A file in a ConfigMap.")
    secret_ref: SecretFile | None = Field(None, description="A file in a Secret, for items that are confidential.")
    uri: UriSource | None = Field(None, description="A file by URL: an object store, the web or a mounted claim.")
    results_of: ResultsOf | None = Field(
        None,
        description="The results of another BatchJob, one item each; items without a result are left out. Not of an "
        "export: its results are files.",
    )
    redrive_of: RedriveOf | None = Field(
        None,
        description="The items that another BatchJob gave up, each with its id and data, for another try. Waits until "
        "that one has ended. No dead letters are no items: the run succeeds with 0/0.",
    )
    sql: Sql | None = Field(None, description="The rows of a PostgreSQL query.")
    id_field: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        "id", description="Field of a file's records, or column of a query, that names the item. Unique in the source."
    )
    on_bad_item: OnBadItem = Field(
        OnBadItem.FAIL,
        description="What a record means that is no item: no JSON object, not UTF-8, nested deeper than 200 levels, "
        "without a usable id or with one that was there before, longer than 1 MiB, a row of CSV with too few or too "
        "many fields. fail: the run fails with its line, and nothing is done. skip: it is left out, counted in "
        "status.source.badItems, and the first ten are named in badItemMessages; where all are bad, the run fails; and "
        "items are processed while one pod still reads the others. "
        "What is wrong with the whole file always fails: its size, an encoding that is not UTF-8, compression, a "
        "broken transfer, a JSON array that does not parse, a header of CSV, a quote that is not closed and a line of "
        "CSV above 1 MiB (nobody knows where the next row begins).",
    )

    @property
    def starts_early(self) -> bool:
        """Whether items may be processed while the source is still being read: a bad one does not end the run."""
        return self.on_bad_item is OnBadItem.SKIP

    @property
    def parent_field(self) -> str:
        """The member that names another BatchJob; empty where the source is none."""
        return "resultsOf" if self.results_of else "redriveOf" if self.redrive_of else ""

    @property
    def parent(self) -> str | None:
        """The BatchJob that is read, where the source is one."""
        place = self.results_of or self.redrive_of
        return place.batch_job_name if place else None
