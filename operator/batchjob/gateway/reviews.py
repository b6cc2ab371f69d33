"""A question to the API server that is asked as an object: who a token is, what somebody may."""

from typing import Any

from batchjob import log
from batchjob.errors import Forbidden
from batchjob.gateway.problems import unavailable
from batchjob.kube import Kube, Resource

logger = log.get(__name__)


async def review(kube: Kube, resource: Resource, spec: dict[str, Any]) -> dict[str, Any]:
    """The status of a review. That we may not ask is a fault of the installation, and no answer to a caller."""
    try:
        answer = await kube.create(
            resource, None, {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        )
    except Forbidden as error:
        logger.critical("the gateway's account lacks a right: see the chart's", error=str(error))
        raise unavailable("The check of rights") from error
    found: dict[str, Any] = answer["status"]
    return found
