"""Destinations in an object store."""

from pathlib import Path

from batchjob.api.source import Location
from batchjob.errors import ResultsError
from batchjob.worker.buckets import STORE_ERRORS, endpoint_refusal, explain, open_bucket
from batchjob.worker.files import Files


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
