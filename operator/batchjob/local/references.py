"""What a run refers to, laid out as a pod would find it mounted; secrets may come from our environment instead."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from batchjob.api.run import Purpose, Reference, references
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.errors import ConfigurationError
from batchjob.files.logins import CLOUDS
from batchjob.local.manifest import Manifest

_PLACES: Final = {
    Purpose.SOURCE_CREDENTIALS: lambda spec: spec.source.uri,
    Purpose.DESTINATION_CREDENTIALS: lambda spec: (
        spec.export.destination if spec.export else spec.report and spec.report.deliver.destination
    ),
    Purpose.RESULTS_CREDENTIALS: lambda spec: spec.results and spec.results.destination,
    Purpose.FILES_CREDENTIALS: lambda spec: spec.email and spec.email.files,
}


def mount(manifest: Manifest, folder: Path) -> None:
    """Write every file of every reference below `folder`; ConfigurationError names the first that is nowhere."""
    for reference in references(manifest.job.spec):
        place = folder / reference.purpose
        place.mkdir(parents=True, exist_ok=True)
        for key, content in _content(manifest, reference):
            (place / key).write_bytes(content)


def _keys(spec: BatchJobSpec, reference: Reference) -> tuple[Sequence[Sequence[str]], Sequence[str]]:
    """What is read of it: sets of keys of which one has to be whole, and keys that may be there too."""
    if reference.key:
        return [[reference.key]], []
    if reference.purpose is Purpose.SMTP:
        return [["SMTP_USERNAME", "SMTP_PASSWORD"]], []
    cloud = CLOUDS[_PLACES[Purpose(reference.purpose)](spec).url.partition("://")[0]]
    return cloud.ways, cloud.optional


def _content(manifest: Manifest, reference: Reference) -> Iterator[tuple[str, bytes]]:
    found = manifest.objects.get((reference.kind, reference.name), {})
    if reference.purpose is Purpose.MODEL_HEADERS:  # whatever keys it has; our environment says nothing of headers
        if not found:
            raise ConfigurationError(
                f"{reference.field}: no document of the file is a Secret {reference.name}. Add it."
            )
        yield from found.items()
        return
    ways, optional = _keys(manifest.job.spec, reference)
    if reference.kind == "Secret":
        found = {key.decode(): content for key, content in os.environb.items()} | found
    whole = next((way for way in ways if found.keys() >= set(way)), None)
    if whole is None:
        lacking = [key for key in ways[0] if key not in found]
        raise ConfigurationError(_missing(reference, lacking[0]))
    for key in (*whole, *optional):
        if key in found:
            yield key, found[key]


def _missing(reference: Reference, key: str) -> str:
    says = f"{reference.field}: no document of the file is a {reference.kind} {reference.name} with the key {key}"
    way_out = f", and {key} is not in the environment. Set either." if reference.kind == "Secret" else ". Add it."
    return says + way_out


def environment(manifest: Manifest) -> dict[str, str]:
    """The variables of `spec.worker.envFrom`; where its object is in no document, our environment has to have them."""
    return {
        key: os.fsdecode(content)  # whatever its bytes are
        for name in _sources(manifest.job.spec)
        for key, content in manifest.objects.get(name, {}).items()
    }


def _sources(spec: BatchJobSpec) -> Iterator[tuple[str, str]]:
    for source in (spec.worker.env_from if spec.worker else None) or ():
        if source.config_map_ref:
            yield "ConfigMap", source.config_map_ref.name
        if source.secret_ref:
            yield "Secret", source.secret_ref.name
