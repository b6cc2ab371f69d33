"""Destinations: files that become visible whole or not at all, below the run's own folder.

The folder is `<url>/<Run.folder>/`: no other run can reach into it, not even one of the same name. In a bucket a file
is one PUT; on a claim, a temporary file that is renamed once it is safe on disk.
"""

import asyncio
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError, ResultsError
from batchjob.files.mounts import path_on_mount
from batchjob.files.urls import check_whole

TEMPORARY_SUFFIX: Final = ".unfinished"
READ_BYTES: Final = 1024 * 1024  # at once
# Of a file system that has this for files alone, or of a folder that may be written and not read.
NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EISDIR, errno.EACCES})


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
    async def write(self, name: str, pieces: AsyncIterable[bytes], size: int = 0) -> None:
        """Write a file, or replace it, as its pieces come; it is there, whole, once the last one is.

        `size`: its bytes, about, where they are known. What `pieces` raises comes through, and no file is there.
        """

    @abstractmethod
    async def get(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""

    @abstractmethod
    def read(self, name: str) -> AsyncIterator[bytes]:
        """What a file holds, in pieces of about a MiB. ResultsError where there is none."""

    @abstractmethod
    async def names(self) -> list[str]:
        """Names of the files there, those in folders too, sorted."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""


class MountedFiles(Files):
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

    def _beside(self, name: str) -> Path:
        """A temporary file of one's own.

        Two that write one part must not write into one, be they pods or threads: one whose attempt was cut off writes
        on. What a crash leaves is found by `names` and removed with whatever no manifest lists.
        """
        return self._folder / f"{name}.{uuid4().hex}{TEMPORARY_SUFFIX}"

    def _write(self, path: Path, body: bytes) -> None:
        fresh = self._beside(path.name)
        try:
            with _create(fresh) as file:
                file.write(body)
                _sync(file)
            _rename(fresh, path)
        except OSError:
            fresh.unlink(missing_ok=True)  # on a full disk, none may be left by each try
            raise

    async def write(self, name: str, pieces: AsyncIterable[bytes], size: int = 0) -> None:
        """Write beside, piece by piece; sync, rename."""
        del size
        fresh = self._beside(name)
        failed: list[Exception] = []
        try:
            file = await asyncio.to_thread(_create, fresh)
            try:
                async for piece in watched(pieces, failed):
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(_sync, file)
            finally:
                file.close()
            await asyncio.to_thread(_rename, fresh, self._folder / name)
        except BaseException as error:
            fresh.unlink(missing_ok=True)
            if isinstance(error, OSError) and error not in failed:
                raise ResultsError(f"{self._field}: {self.url(name)} cannot be written: {error.strerror}") from None
            raise

    async def get(self, name: str) -> bytes | None:
        """Read it whole."""
        try:
            return await asyncio.to_thread((self._folder / name).read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url(name)} cannot be read: {error.strerror}") from None

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Read it block by block."""
        try:
            with await asyncio.to_thread((self._folder / name).open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, READ_BYTES):
                    yield piece
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url(name)} cannot be read: {error.strerror}") from None

    async def names(self) -> list[str]:
        """Files in the folder, unfinished ones too."""
        try:
            return await asyncio.to_thread(self._list)
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url('')} cannot be read: {error.strerror}") from None

    def _list(self) -> list[str]:
        if not self._folder.exists():
            return []
        return sorted(str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file())

    async def delete(self, name: str) -> None:
        """Unlink."""
        try:
            await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)
        except OSError as error:
            raise ResultsError(f"{self._field}: {self.url(name)} cannot be removed: {error.strerror}") from None


async def watched(pieces: AsyncIterable[bytes], failed: list[Exception]) -> AsyncIterator[bytes]:
    """The pieces; what they raise is put into `failed`, by which it is told from what the destination raises."""
    try:
        async for piece in pieces:
            yield piece
    except Exception as error:
        failed.append(error)
        raise


def _create(path: Path) -> BinaryIO:
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_folder(folder.parent)
    return path.open("xb")


def _rename(fresh: Path, path: Path) -> None:
    """Rename, and have the folder keep it through a loss of power: the store drops what is in the file next."""
    fresh.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def open_files(
    place: Location, folder: str, field: str, mounted: Iterable[Path], references: tuple[Path, Path]
) -> Files:
    """The files of the run whose folder that is; `references`: where credentials and authority are mounted.

    Raises ConfigurationError where the place cannot work.
    """
    check_whole(place.url, f"{field}.url")
    url = f"{place.url.rstrip('/')}/{folder}"
    try:
        if place.url.startswith("file:"):
            return MountedFiles(url, field, path_on_mount(place.url, mounted, folder))
        from batchjob.files.bucket_files import BucketFiles  # noqa: PLC0415 - its library would cost every pod 5 MB

        return BucketFiles(url, field, place, folder, references)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None
