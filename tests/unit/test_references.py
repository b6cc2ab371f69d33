"""What the pods of a run will mount has to be there, and theirs to see."""

from typing import Any
from unittest.mock import AsyncMock

from batchjob.controller.manifests import UID_LABEL
from batchjob.controller.references import find_missing
from batchjob.core.reasons import Reason
from tests.support.plan_world import batch_job

SPEC = batch_job({"worker": {"envFrom": [{"secretRef": {"name": "theirs"}}]}}).spec


async def test_the_secret_of_another_run_is_refused() -> None:
    """It has the credentials of that run in the store."""
    kube, secret = AsyncMock(), dict[str, Any](metadata={"name": "theirs"})
    kube.get.return_value = secret
    assert await find_missing(kube, "team", SPEC) is None
    secret["metadata"]["labels"] = {UID_LABEL: "u1"}
    found = await find_missing(kube, "team", SPEC)
    assert found
    assert (found.reason, found.message) == (
        Reason.NOT_ALLOWED,
        "spec.worker.envFrom[0].secretRef: Secret theirs belongs to a run of a BatchJob. Name another one.",
    )
