"""Where large inputs are put before their BatchJob is made: a bucket, or a claim that gateways and workers mount.

An object is `uploads/<namespace>/<name>.<began>.<random>.jsonl`: nobody guesses its name, a platform engineer can give
the workers of a namespace a key that reads its own prefix alone, and whoever finds it knows which BatchJob it is for.
It becomes visible whole or not at all, and each try has one of its own: no try can spoil what another one's BatchJob
reads. So what a crash leaves is an object that no BatchJob names, and `sweep` takes it away, as it takes those whose
BatchJob is gone, or ended longer ago than its items are kept. Every gateway sweeps: to do it twice does no harm.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from batchjob import log
from batchjob.api.source import CaBundle, Location, SecretName, SourceFormat, UriSource
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.phases import is_terminal
from batchjob.core.retention import expires_at
from batchjob.errors import ConfigurationError, Forbidden, KubernetesError, NotFound, ResultsError
from batchjob.files.files import Files, open_files
from batchjob.gateway.places import Places
from batchjob.gateway.problems import unavailable
from batchjob.gateway.settings import GatewaySettings
from batchjob.kube import BATCH_JOBS, Kube

FOLDER: Final = "uploads"
GRACE_SECONDS: Final = 7200  # in which an object may be of an upload that goes on: one takes an hour at most
_NAME: Final = re.compile(
    r"(?P<namespace>[-a-z0-9]+)/(?P<job>[-a-z0-9]+)\.(?P<began>[0-9a-f]{1,12})\.[0-9a-f]{32}\.jsonl(\.[0-9a-f]{32}\.unfinished)?"
)

logger = log.get(__name__)


class Place(NamedTuple):
    """Where one upload goes."""

    namespace: str
    job: str
    name: str
    url: str


class Staging:
    """The bucket or claim. ConfigurationError where it cannot work like this."""

    def __init__(self, settings: GatewaySettings, url: str) -> None:
        self._settings = settings
        self.uploads = Places(settings.uploads_at_once, "uploads")  # each takes some memory
        secret, bundle = settings.staging_secret, settings.staging_ca_config_map
        self._location = Location(
            url=url.rstrip("/"),
            endpoint=settings.staging_endpoint,
            credentials_secret_ref=SecretName(name=secret) if secret else None,
            ca_bundle_ref=CaBundle(name=bundle, key="ca.crt") if bundle else None,
        )
        self._open()

    @classmethod
    def read(cls, settings: GatewaySettings) -> "Staging | None":
        """What the settings say; None: there is none."""
        return None if settings.staging_url is None else cls(settings, settings.staging_url)

    def place(self, namespace: str, job: str) -> Place:
        """A new one, for a BatchJob."""
        name = f"{namespace}/{job}.{int(time.time()):x}.{secrets.token_hex(16)}.jsonl"
        return Place(namespace, job, name, f"{self._location.url}/{FOLDER}/{name}")

    def source(self, place: Place) -> dict[str, Any]:
        """What spec.source.uri says of it: workers read it with the Secret of their own namespace."""
        return UriSource(**{**dict(self._location), "url": place.url, "format": SourceFormat.ITEMS}).to_json()

    @property
    def volume(self) -> dict[str, Any] | None:
        """What workers mount to reach it, where it is on a claim."""
        if self._settings.staging_claim is None:
            return None
        path = urlsplit(self._location.url).path
        return {"claimName": self._settings.staging_claim, "mountPath": path, "readOnly": True}

    async def write(self, place: Place, pieces: AsyncIterable[bytes]) -> None:
        """Put it there, as it comes. What `pieces` raises comes through, and nothing is there."""
        try:
            await self._open().write(place.name, pieces)
        except (ResultsError, ConfigurationError) as error:
            logger.error("uploads cannot be staged", error=str(error), url=place.url)  # noqa: TRY400 - not ours
            raise unavailable("The place where large inputs are staged") from None

    async def drop_unless_used(self, kube: Kube, place: Place) -> None:
        """Remove it, unless its BatchJob reads it. Where that cannot be found out, `sweep` does it."""
        try:
            if not await is_needed(kube, place.namespace, place.job, place.url):
                await self._open().delete(place.name)
        except (KubernetesError, ResultsError, ConfigurationError) as error:
            logger.warning("a staged upload is left for the sweep", error=str(error), url=place.url)

    async def sweep(self, kube: Kube, now: float) -> int:
        """Remove what no BatchJob needs; how many."""
        files, removed = self._open(), 0
        for name in await files.names():
            found = _NAME.fullmatch(name)
            if found is None or now - int(found["began"], 16) < GRACE_SECONDS:
                continue
            if not await is_needed(kube, found["namespace"], found["job"], files.url(name)):
                await files.delete(name)
                removed += 1
        return removed

    async def keep_sweeping(self, kube: Kube) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.staging_sweep_seconds * (0.5 + secrets.randbelow(1000) / 1000))
            try:
                removed = await self.sweep(kube, time.time())
            except Exception as error:  # noqa: BLE001 - whatever it was, it is to be tried again
                logger.warning("staged uploads were not swept", error=str(error))
            else:
                logger.info("staged uploads were swept", removed=removed)

    def _open(self) -> Files:
        """Opened anew each time: the Secret may have changed."""
        settings = self._settings
        mounted = [Path(urlsplit(self._location.url).path)]
        references = settings.staging_references_dir / "credentials", settings.staging_references_dir / "ca"
        return open_files(self._location, FOLDER, "BATCHJOB_STAGING_URL", mounted, references)


async def is_needed(kube: Kube, namespace: str, name: str, url: str) -> bool:
    """Whether a BatchJob reads this object, or may have to again."""
    try:
        job = BatchJob.parse(await kube.get(BATCH_JOBS, namespace, name))
    except NotFound:
        return False
    except (Forbidden, ValidationError) as error:  # it is kept, and the others have their turn
        logger.warning("whether an upload is needed cannot be told", error=str(error), url=url)
        return True
    source, status = job.spec.source.uri, job.status
    if source is None or source.url != url:
        return False
    if not is_terminal(status) or status is None or status.completion_time is None:
        return True
    ended = datetime.fromisoformat(status.completion_time)
    return datetime.now(UTC) < expires_at(job.spec.retention, status.phase, ended)
