"""Destinations in an object store."""

from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Final

from batchjob.api.source import Location
from batchjob.errors import ResultsError
from batchjob.files.buckets import STORE_ERRORS, endpoint_refusal, explain, open_bucket
from batchjob.files.files import READ_BYTES, Files, watched

PIECE_BYTES: Final = 8 * 1024 * 1024  # of a multipart upload; S3 wants at least 5 MiB
MOST_PIECES: Final = 9000  # S3 takes 10,000


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

    async def write(self, name: str, pieces: AsyncIterable[bytes], size: int = 0) -> None:
        """A multipart upload, which is visible once it is completed."""
        await self._check()
        failed: list[Exception] = []
        piece_bytes = max(PIECE_BYTES, size // MOST_PIECES)
        try:
            await self._store.put_async(
                self._prefix + name,
                watched(pieces, failed),
                use_multipart=True,
                chunk_size=piece_bytes,
                max_concurrency=1,
            )
        except Exception as error:
            if failed:
                raise failed[0] from None  # the library wraps it
            if isinstance(error, STORE_ERRORS):
                raise self._translated(name, error) from None
            raise

    async def get(self, name: str) -> bytes | None:
        """One GET."""
        await self._check()
        try:
            found = await self._store.get_async(self._prefix + name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except STORE_ERRORS as error:
            raise self._translated(name, error) from None

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """One GET."""
        await self._check()
        try:
            found = await self._store.get_async(self._prefix + name)
            async for piece in found.stream(READ_BYTES):
                yield bytes(piece)
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
