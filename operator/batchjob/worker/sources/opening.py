"""From a run's spec to its source."""

from pathlib import Path

from batchjob.api import source as spec
from batchjob.api.run import Purpose, Run
from batchjob.api.source import MEMBERS, FileRef, SecretFile, UriSource
from batchjob.errors import ConfigurationError, InvalidSource
from batchjob.store import Store
from batchjob.worker.claims import mounts, path_on_claim
from batchjob.worker.sources.bucket import BucketReader
from batchjob.worker.sources.file import FileSource, PathReader, Reader
from batchjob.worker.sources.https import HttpsReader
from batchjob.worker.sources.inline import InlineSource
from batchjob.worker.sources.redrive import RedriveSource
from batchjob.worker.sources.results import ResultsSource
from batchjob.worker.sources.source import Source
from batchjob.worker.urls import check_whole


def open_source(run: Run, references_dir: Path, store: Store, worker: str) -> Source:
    """The run's source, not read yet. Raises InvalidSource where the spec names none that can work."""
    source = run.spec.source
    if source.items is not None:
        return InlineSource(source.items, source.on_bad_item)
    if source.config_map_ref is not None:
        return _mounted(source.config_map_ref, "ConfigMap", "spec.source.configMapRef", source, references_dir)
    if source.secret_ref is not None:
        return _mounted(source.secret_ref, "Secret", "spec.source.secretRef", source, references_dir)
    if source.uri is not None:
        try:
            reader = _reader(source.uri, run, references_dir)
        except ConfigurationError as error:
            raise InvalidSource(str(error)) from None
        return FileSource(reader, source.uri.format, source.id_field, "spec.source.uri", source.on_bad_item)
    if source.results_of is not None and run.parent_uid is not None:
        return ResultsSource(store.run(run.parent_uid, worker), source.results_of.batch_job_name)
    if source.redrive_of is not None and run.parent_uid is not None:
        return RedriveSource(store.run(run.parent_uid, worker), source.redrive_of)
    raise InvalidSource(f"spec.source needs exactly one of {', '.join(MEMBERS)}")


def _mounted(file: FileRef | SecretFile, kind: str, field: str, source: spec.Source, references_dir: Path) -> Source:
    reader = PathReader(references_dir / Purpose.SOURCE / file.key, f"{kind} {file.name}, key {file.key}")
    return FileSource(reader, file.format, source.id_field, field, source.on_bad_item)


def _reader(place: UriSource, run: Run, references_dir: Path) -> Reader:
    scheme, _, _ = place.url.partition(":")
    authority = references_dir / Purpose.SOURCE_CA
    if scheme != "https":
        check_whole(place.url, "spec.source.uri.url")
    match scheme:
        case "https":
            return HttpsReader(place, authority)
        case "s3" | "gs" | "az":
            return BucketReader(place, references_dir / Purpose.SOURCE_CREDENTIALS, authority)
        case "file":
            return PathReader(path_on_claim(place.url, mounts(run.spec)), place.url)
        case _:
            raise InvalidSource(
                f"{place.url}: source.uri.url must begin with s3://, gs://, az://, https:// or file:///"
            )
