"""The seal lease: when every item is terminal, one worker finishes the results and closes the run."""


class SealLease:
    """The right to seal, for 10 s after each call. Errors: LeaseLost when another worker took over."""

    async def renew(self) -> None:
        """Keep the lease while writing takes time."""
        raise NotImplementedError

    async def finish(self, results_uri: str | None, manifest_sha256: str | None) -> None:
        """Close the run; both None where the results stay in the store."""
        raise NotImplementedError

    async def fail(self, reason: str, message: str) -> None:
        """The results cannot be finished: the run ends as failed."""
        raise NotImplementedError

    async def release(self) -> None:
        """Give the lease back; another worker seals from the beginning."""
        raise NotImplementedError
