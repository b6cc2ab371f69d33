"""A file in an object store."""

from collections.abc import AsyncIterator
from pathlib import Path

from batchjob.api.source import Location
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.files.buckets import STORE_ERRORS, endpoint_refusal, explain, open_bucket
from batchjob.worker.sources.limits import BLOCK_BYTES


class BucketReader:
    """A file by s3://, gs:// or az:// URL."""

    def __init__(self, place: Location, credentials: Path, authority: Path) -> None:
        self.name = place.url
        self.etag: str | None = None
        self._place = place
        self._credentials = credentials
        self._authority = authority

    async def blocks(self) -> AsyncIterator[bytes]:
        """The object's bytes."""
        if sentence := await endpoint_refusal(self._place):
            raise InvalidSource(sentence)
        try:
            bucket = open_bucket(self._place, self._credentials, self._authority)
            found = await bucket.store.get_async(bucket.key)
            self.etag = found.meta["e_tag"]
            async for block in found.stream(min_chunk_size=BLOCK_BYTES):
                yield bytes(block)
        except ConfigurationError as error:
            raise InvalidSource(str(error)) from None
        except STORE_ERRORS as error:
            why, lasts = explain(self.name, self._place, error)
            raise SourceUnreachable(why, lasts=lasts) from None
