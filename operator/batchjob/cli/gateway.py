"""The HTTP API for commands: at the URL that was given, else at a pod of the gateway, by a port-forward of our own.

Who asks is who the kubeconfig says: its token goes to the gateway, which has Kubernetes review it. Over a port-forward
it goes through the API server's own TLS; to a URL that is no https it does not go, unless that is this machine.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from batchjob.cli.cluster import Cluster, bare, open_cluster
from batchjob.cli.exits import Refused
from batchjob.cli.options import GatewayPlace, Place
from batchjob.client import ApiError, AsyncClient, NoAnswer, Retries
from batchjob.client.errors import Forbidden, NotFound, Unauthenticated
from batchjob.errors import ConfigurationError
from batchjob.kube import PODS, Access
from batchjob.kube.forward import forward

T = TypeVar("T")
SELECTOR: Final = "app.kubernetes.io/name=batchjob-operator,app.kubernetes.io/component=gateway"  # of the chart
PORT_NAME: Final = "http"
_RETRIES: Final = Retries(tries=2)  # a gateway without its store answers after nine seconds, and somebody sits there
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_TOKEN: Final = (
    "the HTTP API takes a token, and your kubeconfig signs in without one: put one into a file (kubectl create token "  # noqa: S105 - a sentence
    "…) and name it with --gateway-token-file"
)


@asynccontextmanager
async def open_gateway(cluster: Cluster, place: GatewayPlace) -> AsyncIterator[AsyncClient]:
    """A client of the HTTP API."""
    access = cluster.kube.access
    token = _token_of(access, place)
    if place.url:
        _check(place.url)
        async with AsyncClient(place.url, token=token, retries=_RETRIES) as client:
            yield client
        return
    pod, port = await _find_pod(cluster, place.system)
    async with (
        forward(access, place.system, pod, port) as address,
        AsyncClient(f"http://{address}", token=token, retries=_RETRIES) as client,
    ):
        yield client


def _token_of(access: Access, place: GatewayPlace) -> Path | Callable[[], str]:
    if place.token_file:
        return place.token_file
    if access.act_as:
        raise Refused("the HTTP API knows no --as: name a file with a token of that user with --gateway-token-file")

    def read() -> str:
        token = access.token()
        if not token:
            raise ConfigurationError(_NO_TOKEN)
        return token

    return read


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Refused(f"--gateway: {url} would send your token without TLS: write https://…, or leave --gateway out")


async def _find_pod(cluster: Cluster, system: str) -> tuple[str, int]:
    """A pod of the gateway that is ready, and its port."""
    pods = (await cluster.kube.list(PODS, system, labels=SELECTOR)).items
    for pod in pods:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            for container in pod["spec"]["containers"]:
                for port in container.get("ports") or ():
                    if port.get("name") == PORT_NAME:
                        return pod["metadata"]["name"], int(port["containerPort"])
    raise Refused(
        f"no pod of the gateway is ready in the namespace {system}: it may be another one (--system-namespace), or not "
        "installed (gateway.enabled of the chart); --gateway takes its URL"
        if not pods
        else f"the gateway has {len(pods)} pods in the namespace {system}, and none is ready: kubectl get pods says why"
    )


async def ask(place: Place, gateway: GatewayPlace, doing: Callable[[Cluster, AsyncClient], Awaitable[T]]) -> T:
    """Do something with the cluster and the HTTP API; Refused says why it could not."""
    async with open_cluster(place) as cluster, open_gateway(cluster, gateway) as client:
        try:
            return await doing(cluster, client)
        except ApiError as error:
            raise Refused(_in_words(error)) from None
        except NoAnswer as error:
            raise Refused(f"the HTTP API does not answer: {error}") from None


async def job_id(cluster: Cluster, name: str) -> str:
    """The id of a BatchJob: asked of Kubernetes where it is @latest."""
    if name.startswith("@"):
        name = (await cluster.find(name))["metadata"]["name"]
    return f"{cluster.namespace}.{bare(name)}"


def _in_words(error: ApiError) -> str:
    said = "; ".join([error.detail or error.title, *(_fault(one) for one in error.errors)])
    match error:
        case Unauthenticated():
            return f"the HTTP API does not take who you are: {said}"
        case Forbidden():
            return f"{said}. Ask whoever runs the cluster for a role with that right"
        case NotFound():
            return f"{said}. See what there is with: batchjob ls"
        case _:
            return said


def _fault(fault: Any) -> str:
    where = fault.pointer or fault.parameter or fault.header
    return f"{where}: {fault.detail}" if where else str(fault.detail)
