"""The load lease: one worker streams the source into chunks; the run opens when all of it is there."""

from collections.abc import Sequence

from batchjob.core.items import Item


class LoadLease:
    """The right to load, for 10 s after each call. Errors: LeaseLost when another worker took over."""

    async def put(self, chunks: Sequence[Sequence[Item]]) -> None:
        """Add chunks of at most 1024 items; positions go on from 0 without gaps. Renews the lease."""
        raise NotImplementedError

    async def renew(self) -> None:
        """Keep the lease while the source is slow."""
        raise NotImplementedError

    async def finish(self, total: int, sha256: str | None, etag: str | None) -> None:
        """Open the run, after checking that `total` items arrived (StoreError if not)."""
        raise NotImplementedError

    async def fail(self, reason: str, message: str) -> None:
        """The source is wrong: the run ends as failed."""
        raise NotImplementedError

    async def trouble(self, error_class: str, message: str) -> None:
        """The source cannot be read now; shown in the snapshot until it is loaded. Renews the lease."""
        raise NotImplementedError

    async def release(self) -> None:
        """Give the lease back; the next loader begins at position 0."""
        raise NotImplementedError
