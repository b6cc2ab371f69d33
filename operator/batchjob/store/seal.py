"""The seal lease: when every item is terminal, one worker finishes the results and closes the run."""

from batchjob.store import scripts
from batchjob.store.duty import Duty


class SealLease(Duty):
    """The right to seal, for `lease_ms` after each call. Errors: LeaseLost when another worker took over."""

    kind = "seal"

    async def finish(self, results_uri: str | None, manifest_sha256: str | None) -> None:
        """Close the run; both None where the results stay in the store."""
        await self._call(scripts.SEAL_FINISH, self._token, results_uri or "", manifest_sha256 or "")
