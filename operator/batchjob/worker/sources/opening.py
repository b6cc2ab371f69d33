"""From a run's spec to its source."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from batchjob.api import source as spec
from batchjob.api.run import Purpose, Run
from batchjob.api.source import MEMBERS, Location, UriSource
from batchjob.errors import ConfigurationError, InvalidSource
from batchjob.files.files import Files, open_files
from batchjob.files.mounts import mount_paths, path_on_mount
from batchjob.files.urls import check_whole, masked
from batchjob.store import RunStore, Store
from batchjob.worker.sources.file import FileSource, PathReader, Reader
from batchjob.worker.sources.inline import InlineSource
from batchjob.worker.sources.redrive import RedriveSource
from batchjob.worker.sources.report import ReportSource
from batchjob.worker.sources.results import ResultsSource
from batchjob.worker.sources.source import Source


def open_source(run: Run, references_dir: Path, store: Store, worker: str) -> Source:
    """The run's source, not read yet. Raises InvalidSource where the spec names none that can work."""
    source = run.spec.source
    if run.spec.report is not None:
        found: Source | None = ReportSource(run, run.spec.report, store.run(run.uid, worker), references_dir)
    elif source.items is not None:
        found = InlineSource(source.items, source.on_bad_item)
    elif source.sql is not None:
        found = _query(run, source.sql, references_dir)
    elif run.parent_uid is not None:
        found = _of_another_run(run, store.run(run.parent_uid, worker), references_dir)
    else:
        found = _file(run, references_dir)
    if found is None:
        raise InvalidSource(f"spec.source needs exactly one of {', '.join(MEMBERS)}")
    return found


def _query(run: Run, place: spec.Sql, references_dir: Path) -> Source:
    credentials = references_dir / Purpose.SOURCE_CREDENTIALS
    if run.spec.export and run.spec.has_ranges:
        from batchjob.worker.sources.sql_ranges import RangeSource  # noqa: PLC0415 - as below

        return RangeSource(place, run.spec.export.part_rows(of_ranges=True), credentials)
    from batchjob.worker.sources.sql import SqlSource  # noqa: PLC0415 - its library would cost every pod 25 MB

    source = run.spec.source
    return SqlSource(place, source.id_field, credentials, source.on_bad_item)


def _of_another_run(run: Run, parent: RunStore, references_dir: Path) -> Source | None:
    source = run.spec.source
    if source.results_of is not None:
        return ResultsSource(parent, source.results_of.batch_job_name, partial(_parent_files, run, references_dir))
    return None if source.redrive_of is None else RedriveSource(parent, source.redrive_of)


def _parent_files(run: Run, references_dir: Path) -> Files | None:
    """Where the run that is the source has its results; None: in the store alone. Raises InvalidSource."""
    parent = run.parent_results
    if parent is None:
        return None
    references = references_dir / Purpose.SOURCE_CREDENTIALS, references_dir / Purpose.SOURCE_CA
    try:
        return open_files(parent.destination, parent.folder, "spec.source.resultsOf", mount_paths(run.spec), references)
    except ConfigurationError as error:
        is_claim = parent.destination.url.startswith("file:")
        hint = ": its results are there, so mount the same claim at the same path" if is_claim else ""
        raise InvalidSource(f"{error}{hint}") from None


def _file(run: Run, references_dir: Path) -> Source | None:
    source = run.spec.source
    folder = references_dir / Purpose.SOURCE
    reader: Reader
    if place := source.config_map_ref:
        reader, field = PathReader(folder / place.key, f"ConfigMap {place.name}, key {place.key}"), "configMapRef"
        form = place.format
    elif secret := source.secret_ref:
        reader, field = PathReader(folder / secret.key, f"Secret {secret.name}, key {secret.key}"), "secretRef"
        form = secret.format
    elif source.uri:
        reader, field, form = _reader(source.uri, run, references_dir), "uri", source.uri.format
    else:
        return None
    return FileSource(reader, form, source.id_field, f"spec.source.{field}", source.on_bad_item)


def _reader(place: UriSource, run: Run, references_dir: Path) -> Reader:
    """Raises InvalidSource."""
    references = references_dir / Purpose.SOURCE_CREDENTIALS, references_dir / Purpose.SOURCE_CA
    try:
        return open_reader(place, "spec.source.uri", mount_paths(run.spec), references)
    except ConfigurationError as error:
        raise InvalidSource(str(error)) from None


def open_reader(place: Location, field: str, mounted: Iterable[Path], references: tuple[Path, Path]) -> Reader:
    """What reads one file; `references`: where credentials and authority are mounted.

    Raises ConfigurationError where the place cannot work, InvalidSource where its authority cannot.
    """
    credentials, authority = references
    scheme, _, _ = place.url.partition(":")
    if scheme != "https":
        check_whole(place.url, f"{field}.url")
    match scheme:
        case "https":
            from batchjob.worker.sources.https import HttpsReader  # noqa: PLC0415 - as in _query: 3 MB

            return HttpsReader(place, authority, field)
        case "s3" | "gs" | "az":
            from batchjob.worker.sources.bucket import BucketReader  # noqa: PLC0415 - as in _query: 5 MB

            return BucketReader(place, credentials, authority)
        case "file":
            return PathReader(path_on_mount(place.url, mounted), place.url)
        case _:
            said = f"{field}.url must begin with s3://, gs://, az://, https:// or file:///"
            raise ConfigurationError(f"{masked(place.url)}: {said}")
