"""From a run's spec to its source."""

from pathlib import Path

from batchjob.api.run import Purpose, Run
from batchjob.api.source import UriSource
from batchjob.errors import ConfigurationError, InvalidSource
from batchjob.store import Store
from batchjob.worker.claims import mounts, path_on_claim
from batchjob.worker.sources.bucket import BucketReader
from batchjob.worker.sources.file import FileSource, PathReader, Reader
from batchjob.worker.sources.https import HttpsReader
from batchjob.worker.sources.inline import InlineSource
from batchjob.worker.sources.results import ResultsSource
from batchjob.worker.sources.source import Source
from batchjob.worker.urls import check_whole


def open_source(run: Run, references_dir: Path, store: Store, worker: str) -> Source:
    """The run's source, not read yet. Raises InvalidSource where the spec names none that can work."""
    source = run.spec.source
    if source.items is not None:
        return InlineSource(source.items)
    if source.config_map_ref is not None:
        key, form = source.config_map_ref.key, source.config_map_ref.format
        name = f"ConfigMap {source.config_map_ref.name}, key {key}"
        mounted = PathReader(references_dir / Purpose.SOURCE / key, name)
        return FileSource(mounted, form, source.id_field, "spec.source.configMapRef")
    if source.uri is not None:
        try:
            reader = _reader(source.uri, run, references_dir)
        except ConfigurationError as error:
            raise InvalidSource(str(error)) from None
        return FileSource(reader, source.uri.format, source.id_field, "spec.source.uri")
    if source.results_of is not None and run.results_of_uid is not None:
        return ResultsSource(store.run(run.results_of_uid, worker), source.results_of.batch_job_name)
    raise InvalidSource("spec.source needs exactly one of items, configMapRef, uri, resultsOf")


def _reader(place: UriSource, run: Run, references_dir: Path) -> Reader:
    scheme, _, _ = place.url.partition(":")
    authority = references_dir / Purpose.SOURCE_CA
    if scheme != "https":
        check_whole(place.url, "spec.source.uri.url")
    match scheme:
        case "https":
            return HttpsReader(place, authority)
        case "s3":
            return BucketReader(place, references_dir / Purpose.SOURCE_CREDENTIALS, authority)
        case "file":
            return PathReader(path_on_claim(place.url, mounts(run.spec)), place.url)
        case _:
            raise InvalidSource(f"{place.url}: source.uri.url must begin with s3://, https:// or file:///")
