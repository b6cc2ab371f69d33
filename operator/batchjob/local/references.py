"""What a run refers to, laid out as a pod would find it mounted; secrets may come from our environment instead."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batchjob.api.run import Purpose, Reference, references
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.errors import ConfigurationError
from batchjob.local.manifest import Manifest

_BUCKET: Final = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_REGION", "AWS_SESSION_TOKEN"))
# What is read of a Secret that is named without a key: the keys that it must have, and those that it may have.
_KEYS: Final[dict[Purpose, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    Purpose.SOURCE_CREDENTIALS: _BUCKET,
    Purpose.DESTINATION_CREDENTIALS: _BUCKET,
    Purpose.RESULTS_CREDENTIALS: _BUCKET,
    Purpose.SMTP: (("SMTP_USERNAME", "SMTP_PASSWORD"), ()),
}


def mount(manifest: Manifest, folder: Path) -> None:
    """Write every file of every reference below `folder`; ConfigurationError names the first that is nowhere."""
    for reference in references(manifest.job.spec):
        place = folder / reference.purpose
        place.mkdir(parents=True, exist_ok=True)
        for key, content in _content(manifest, reference):
            (place / key).write_bytes(content)


def _content(manifest: Manifest, reference: Reference) -> Iterator[tuple[str, bytes]]:
    found = manifest.objects.get((reference.kind, reference.name), {})
    needed, optional = ((reference.key,), ()) if reference.key else _KEYS[reference.purpose]
    for key in (*needed, *optional):
        if key in found:
            yield key, found[key]
        elif reference.kind == "Secret" and key in os.environ:
            yield key, os.environ[key].encode()
        elif key in needed:
            raise ConfigurationError(_missing(reference, key))


def _missing(reference: Reference, key: str) -> str:
    says = f"{reference.field}: no document of the file is a {reference.kind} {reference.name} with the key {key}"
    way_out = f", and {key} is not in the environment. Set either." if reference.kind == "Secret" else ". Add it."
    return says + way_out


def environment(manifest: Manifest) -> dict[str, str]:
    """The variables of `spec.worker.envFrom`; where its object is in no document, our environment has to have them."""
    return {
        key: content.decode()
        for name in _sources(manifest.job.spec)
        for key, content in manifest.objects.get(name, {}).items()
    }


def _sources(spec: BatchJobSpec) -> Iterator[tuple[str, str]]:
    for source in (spec.worker.env_from if spec.worker else None) or ():
        if source.config_map_ref:
            yield "ConfigMap", source.config_map_ref.name
        if source.secret_ref:
            yield "Secret", source.secret_ref.name
