"""What a worker pod is told: the run, its access to the store, and where each reference is mounted.

The operator writes both documents into the run's own Secret; the pod finds them as files below `RUN_DIR`. A user's
Secrets and ConfigMaps are mounted below `REFERENCES_DIR/<purpose>/`, one folder a purpose, file names = keys: the
pod needs no access to Kubernetes, and its runtime only reads files.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import Field

from batchjob.api.base import Model
from batchjob.api.blocks.ai_batch import AiBatch
from batchjob.api.blocks.email import Email
from batchjob.api.blocks.export import Destination
from batchjob.api.blocks.report import Report
from batchjob.api.queue import RateLimit
from batchjob.api.source import Location, SecretKey
from batchjob.api.status import Effective
from batchjob.api.v1alpha1 import BatchJobSpec

RUN_DIR: Final = "/etc/batchjob/run"
REFERENCES_DIR: Final = "/etc/batchjob/references"
RUN_FILE: Final = "run.json"
STORE_FILE: Final = "store.json"

UID_LENGTH: Final = 8  # of a folder's name: enough to tell the runs of one name apart

EXIT_CLOSED: Final = 0  # the run is closed: nothing is left to do
EXIT_CONFIGURATION: Final = 64  # EX_USAGE: the same pod would fail again, so the Job fails at once
EXIT_UNOPENED: Final = 70  # EX_SOFTWARE: the processor's `open` raised; worth another pod: what it needs may be back
EXIT_TEMPORARY: Final = 75  # EX_TEMPFAIL: worth another pod
EXIT_DRAINED: Final = 143  # 128 + SIGTERM: asked to go, so no failure


def run_folder(name: str, uid: str) -> str:
    """Where a run writes below a destination: no two runs share it, not even two of one name."""
    return f"{name}-{uid[:UID_LENGTH]}"


class ParentResults(Model):
    """Where another run has its results."""

    destination: Destination
    folder: str = Field(description="That run's own folder below it.")


class SourceLimits(Model):
    """What its queue allows a run to read; None: any number."""

    max_items: int | None = None
    max_payload_bytes: int | None = None


class Run(Model):
    """The run as a worker sees it."""

    uid: str = Field(description="UID of the BatchJob: names the run in the store.")
    namespace: str
    name: str
    epoch: str = Field(description="Names the store's memory of this run.")
    spec: BatchJobSpec
    effective: Effective
    limits: SourceLimits = Field(default_factory=SourceLimits)
    rate_limits: list[RateLimit] = Field(
        default_factory=list, description="Of its queue, effective.queue; they may change while the run goes on."
    )
    traceparent: str | None = Field(None, description="Of the request that made the BatchJob, as its annotation says.")
    parent_uid: str | None = Field(None, description="UID of the run whose results or dead letters are the source.")
    parent_results: ParentResults | None = Field(
        None, description="Where the run whose results are the source has them, if not in the store."
    )

    @property
    def folder(self) -> str:
        """Where the run writes below a destination."""
        return run_folder(self.name, self.uid)


class StoreAccess(Model):
    """How to reach the store as this run alone."""

    url: str
    username: str | None = None
    password: str | None = None
    ca: str | None = Field(None, description="Certificates to trust for it, PEM; default: the system's.")


class Purpose(StrEnum):
    """What a mounted reference is for; names its folder."""

    SOURCE = "source"
    SOURCE_CREDENTIALS = "source-credentials"
    SOURCE_CA = "source-ca"
    DESTINATION_CREDENTIALS = "destination-credentials"
    DESTINATION_CA = "destination-ca"
    RESULTS_CREDENTIALS = "results-credentials"
    RESULTS_CA = "results-ca"
    RESULTS_TABLE = "results-table"
    MODEL = "model"
    MODEL_HEADERS = "model-headers"
    FORM = "form"
    SMTP = "smtp"
    FILES_CREDENTIALS = "files-credentials"
    FILES_CA = "files-ca"
    SUPPRESSION = "suppression"


def query_purpose(section: int) -> str:
    """What the Secret of a report's query is for; by the number of the section, from 0, since each may have its own."""
    return f"query-{section}"


class Reference(NamedTuple):
    """A Secret or ConfigMap that a run needs."""

    kind: str  # Secret or ConfigMap
    name: str
    key: str | None  # the key that must exist; None: any
    purpose: str  # a Purpose, or a `query_purpose`
    field: str  # JSON path in the spec, for messages


def references(spec: BatchJobSpec, parent: ParentResults | None = None) -> list[Reference]:
    """Every Secret and ConfigMap that the pods of this spec mount, each with its purpose.

    `parent`: where the results that they read are.
    """
    return [*_of_source(spec, parent), *_of_results(spec), *_of_block(spec)]


def _of_source(spec: BatchJobSpec, parent: ParentResults | None) -> Iterator[Reference]:
    if spec.source.results_of and parent:
        field = f"spec.source.resultsOf: spec.results.destination of BatchJob {spec.source.results_of.batch_job_name}"
        yield from _location(parent.destination, Purpose.SOURCE_CREDENTIALS, Purpose.SOURCE_CA, field)
    if source := spec.source.config_map_ref:
        yield Reference("ConfigMap", source.name, source.key, Purpose.SOURCE, "spec.source.configMapRef")
    if secret := spec.source.secret_ref:
        yield Reference("Secret", secret.name, secret.key, Purpose.SOURCE, "spec.source.secretRef")
    if spec.source.uri:
        yield from _location(spec.source.uri, Purpose.SOURCE_CREDENTIALS, Purpose.SOURCE_CA, "spec.source.uri")
    if spec.source.sql:
        yield _key(spec.source.sql.dsn_secret_ref, Purpose.SOURCE_CREDENTIALS, "spec.source.sql.dsnSecretRef")


def _of_results(spec: BatchJobSpec) -> Iterator[Reference]:
    if spec.results and spec.results.destination:
        field = "spec.results.destination"
        yield from _location(spec.results.destination, Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA, field)
    if spec.results and spec.results.table:
        yield _key(spec.results.table.dsn_secret_ref, Purpose.RESULTS_TABLE, "spec.results.table.dsnSecretRef")


def _of_block(spec: BatchJobSpec) -> Iterator[Reference]:
    if spec.export:
        field = "spec.export.destination"
        yield from _location(spec.export.destination, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA, field)
    if spec.ai_batch:
        yield from _of_model(spec.ai_batch)
    if spec.email:
        yield from _of_mail(spec.email)
    if spec.report:
        yield from _of_report(spec.report)


def _of_model(block: AiBatch) -> Iterator[Reference]:
    field = "spec.aiBatch.model"
    if key := block.model.api_key_secret_ref:
        yield _key(key, Purpose.MODEL, f"{field}.apiKeySecretRef")
    if headers := block.model.headers_secret_ref:
        yield Reference("Secret", headers.name, None, Purpose.MODEL_HEADERS, f"{field}.headersSecretRef")
    if form := block.form_schema_ref:
        yield Reference("ConfigMap", form.name, form.key, Purpose.FORM, "spec.aiBatch.formSchemaRef")


def _of_mail(block: Email) -> Iterator[Reference]:
    if login := block.smtp.credentials_secret_ref:
        yield Reference("Secret", login.name, None, Purpose.SMTP, "spec.email.smtp.credentialsSecretRef")
    if block.files:
        yield from _location(block.files, Purpose.FILES_CREDENTIALS, Purpose.FILES_CA, "spec.email.files")
    if suppression := block.suppression:
        field = "spec.email.suppression"
        if listed := suppression.config_map_ref:
            yield Reference("ConfigMap", listed.name, listed.key, Purpose.SUPPRESSION, f"{field}.configMapRef")
        if secret := suppression.secret_ref:
            yield Reference("Secret", secret.name, secret.key, Purpose.SUPPRESSION, f"{field}.secretRef")


def _of_report(block: Report) -> Iterator[Reference]:
    field = "spec.report.deliver"
    if (mail := block.deliver.email) and (login := mail.smtp.credentials_secret_ref):
        yield Reference("Secret", login.name, None, Purpose.SMTP, f"{field}.email.smtp.credentialsSecretRef")
    if place := block.deliver.destination:
        keys = Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA
        yield from _location(place, *keys, f"{field}.destination")
    for number, section in enumerate(block.shown):
        if section.sql:
            field = f"spec.report.sections[{number}].sql.dsnSecretRef"
            yield _key(section.sql.dsn_secret_ref, query_purpose(number), field)


def _key(reference: SecretKey, purpose: str, field: str) -> Reference:
    return Reference("Secret", reference.name, reference.key, purpose, field)


def _location(place: Location, credentials: Purpose, authority: Purpose, field: str) -> Iterator[Reference]:
    if place.credentials_secret_ref:
        yield Reference("Secret", place.credentials_secret_ref.name, None, credentials, f"{field}.credentialsSecretRef")
    if place.ca_bundle_ref:
        bundle = place.ca_bundle_ref
        yield Reference("ConfigMap", bundle.name, bundle.key, authority, f"{field}.caBundleRef")
