"""Whose cache a run uses. Pure."""

import hashlib

from batchjob.api.run import Run


def cache_name(run: Run) -> str:
    """Names the cache that an owner's runs of a namespace share; others cannot reach it.

    Of the namespace too: where no policy checks `spec.owner`, it is but a claim.
    """
    return hashlib.sha256(f"{run.namespace}\0{run.effective.owner or ''}".encode()).hexdigest()[:32]
