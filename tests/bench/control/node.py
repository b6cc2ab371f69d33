"""A node without a kubelet, as a process: each pod runs and succeeds at once.

`python -m tests.bench.control.node KUBECONFIG STORE_URL`. Where a pod is a worker of ours, what the worker would have
told the store is told first: its run is loaded with one item, the item is done, the run is closed.
"""

import asyncio
import sys
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from batchjob.api.run import StoreAccess
from batchjob.controller.manifests import UID_LABEL
from batchjob.core.items import Item, RunState, Succeeded
from batchjob.errors import ApiUnavailable
from batchjob.kube import PODS, Access, Kube
from batchjob.store import Commit, Store
from tests.support.pods import pod_status

WATCH_SECONDS: Final = 600


class Node:
    """Runs every pod of the cluster."""

    def __init__(self, kube: Kube, store: Store) -> None:
        self._kube = kube
        self._store = store
        self._seen: set[str] = set()  # uids

    async def run(self) -> None:
        """Until cancelled; raises what went wrong with a pod."""
        async with asyncio.TaskGroup() as group:
            since = (await self._kube.list(PODS)).resource_version
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            while True:
                since = await self._follow(since, group)

    async def _follow(self, since: str, group: asyncio.TaskGroup) -> str:
        with suppress(ApiUnavailable):  # it goes on from where it was
            async with aclosing(self._kube.watch(PODS, None, since, seconds=WATCH_SECONDS)) as stream:
                async for event in stream:
                    metadata = event.object["metadata"]
                    since = metadata["resourceVersion"]
                    if event.type == "ADDED" and metadata["uid"] not in self._seen:
                        self._seen.add(metadata["uid"])
                        group.create_task(self._run(metadata))
        return since

    async def _run(self, pod: dict[str, Any]) -> None:
        await self._say(pod, "Running", {"running": {}}, ready=True)
        if uid := pod.get("labels", {}).get(UID_LABEL):
            await work(self._store, uid)
        await self._say(pod, "Succeeded", {"terminated": {"exitCode": 0}}, ready=False)

    async def _say(self, pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool) -> None:
        status = {"status": pod_status(phase, state, ready=ready)}
        await self._kube.patch(PODS, pod["namespace"], pod["name"], status, subresource="status")


async def work(store: Store, uid: str) -> None:
    """The part of a run's only worker in the store."""
    run = store.run(uid, "node")
    load = await run.claim_load()
    if load is None:
        raise RuntimeError(f"run {uid} cannot be loaded")
    await load.put([[Item(0, "i0", {})]])
    await load.finish(1, None, None)
    (chunk,) = (await run.exchange([], 1)).chunks
    grant = await run.exchange([Commit(chunk.id, chunk.fence, [Succeeded(0)])], 0)
    seal = await run.claim_seal()
    if grant.state is not RunState.SEALING or seal is None:
        raise RuntimeError(f"run {uid} is not finished: {grant.state}")
    await seal.finish(None, None)


async def main(kubeconfig: str, store_url: str) -> None:
    """Run until killed."""
    async with (
        Kube(Access.from_kubeconfig(Path(kubeconfig))) as kube,
        Store.connect(StoreAccess(url=store_url), name="node") as store,
    ):
        await store.load_scripts()
        await Node(kube, store).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
