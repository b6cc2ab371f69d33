"""Destinations: files that become visible whole or not at all, below the run's own folder.

The folder is `<url>/<Run.folder>/`: no other run can reach into it, not even one of the same name. In a bucket a file
is one PUT; on a claim, a temporary file that is renamed once it is safe on disk.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from batchjob.api.source import Location
from batchjob.errors import ResultsError
from batchjob.worker.buckets import STORE_ERRORS, endpoint_refusal, explain, open_bucket

TEMPORARY_SUFFIX: Final = ".unfinished"


class Files(ABC):
    """Files of one run. Every call raises ResultsError where the destination cannot be used; it names field and URL."""

    def __init__(self, url: str, field: str) -> None:
        self._url = url
        self._field = field

    def url(self, name: str) -> str:
        """The URL of a file."""
        return f"{self._url}/{name}"

    @abstractmethod
    async def put(self, name: str, body: bytes) -> None:
        """Write a file, or replace it, in one step."""

    @abstractmethod
    async def names(self) -> list[str]:
        """Names of the files there, sorted."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""


class BucketFiles(Files):
    """Files in an object store."""

    def __init__(self, url: str, field: str, place: Location, folder: str, references: tuple[Path, Path]) -> None:
        super().__init__(url, field)
        credentials, authority = references
        bucket = open_bucket(place, credentials, authority)
        self._place = place
        self._store = bucket.store
        self._prefix = f"{bucket.key.strip('/')}/{folder}/".lstrip("/")
        self._checked = False

    async def put(self, name: str, body: bytes) -> None:
        """One PUT."""
        await self._check()
        try:
            await self._store.put_async(self._prefix + name, body, use_multipart=False)
        except STORE_ERRORS as error:
            raise self._translated(name, error) from None

    async def names(self) -> list[str]:
        """Keys below the prefix, without it."""
        await self._check()
        try:
            found = [meta["path"] async for page in self._store.list(self._prefix) for meta in page]
        except STORE_ERRORS as error:
            raise self._translated("", error) from None
        return sorted(path.removeprefix(self._prefix) for path in found)

    async def delete(self, name: str) -> None:
        """One DELETE."""
        await self._check()
        try:
            await self._store.delete_async(self._prefix + name)
        except FileNotFoundError:
            return
        except STORE_ERRORS as error:
            raise self._translated(name, error) from None

    async def _check(self) -> None:
        if not self._checked and (sentence := await endpoint_refusal(self._place)):
            raise ResultsError(f"{self._field}: {sentence}", lasts=True)
        self._checked = True

    def _translated(self, name: str, error: Exception) -> ResultsError:
        why, lasts = explain(self.url(name), self._place, error)
        return ResultsError(f"{self._field}: {why}", lasts=lasts)


class ClaimFiles(Files):
    """Files on a mounted claim."""

    def __init__(self, url: str, field: str, folder: Path) -> None:
        super().__init__(url, field)
        self._folder = folder

    async def put(self, name: str, body: bytes) -> None:
        """Write beside, sync, rename."""
        try:
            await asyncio.to_thread(self._write, self._folder / name, body)
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url(name)} cannot be written: {error.strerror}") from None

    def _write(self, path: Path, body: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Named for the pod too: two pods that write one part must not write into one temporary file. What a crash
        # leaves of it is found by `names` and removed with the other files that no manifest lists.
        fresh = path.with_name(f"{path.name}.{os.uname().nodename}{TEMPORARY_SUFFIX}")
        with fresh.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    async def names(self) -> list[str]:
        """Files in the folder, unfinished ones too."""
        try:
            return await asyncio.to_thread(self._list)
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url('')} cannot be read: {error.strerror}") from None

    def _list(self) -> list[str]:
        if not self._folder.exists():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_file())

    async def delete(self, name: str) -> None:
        """Unlink."""
        try:
            await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url(name)} cannot be removed: {error.strerror}") from None
