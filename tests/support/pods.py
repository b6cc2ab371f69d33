"""A kubelet without containers: pods of Jobs run as local processes, their ends become pod status.

It plays what the control plane's tests lack, and only that: it mounts the pod's Secrets and ConfigMaps as files, starts
the real worker, and says Ready, Succeeded or Failed with the exit code. A pod that is deleted gets SIGTERM.
"""

import asyncio
import base64
import os
import signal
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

from batchjob.api.run import REFERENCES_DIR, RUN_DIR
from batchjob.errors import KubernetesError, NotFound
from batchjob.kube import CONFIG_MAPS, PODS, SECRETS, Access, Kube

CHAOS = Path(__file__).parent / "chaos"
WATCH_SECONDS = 3600  # longer than any test: pods end with the watch
SELECTOR = "app.kubernetes.io/managed-by=batchjob-operator"


class PodRunner:
    """Runs the worker pods of one namespace while its context lasts."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self._access = Access.from_kubeconfig(kubeconfig)
        self._namespace = namespace
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pods", daemon=True)
        self._main: asyncio.Task[None] | None = None
        self.processes: dict[str, asyncio.subprocess.Process] = {}  # by pod name, running ones

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self, pod: str) -> None:
        """SIGKILL a worker process."""
        self._loop.call_soon_threadsafe(self.processes[pod].kill)

    async def _begin(self) -> None:
        self._main = asyncio.ensure_future(self._follow())

    async def _end(self) -> None:
        if self._main:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
            await asyncio.sleep(0.25)  # aiohttp offers nothing to wait on: TLS connections need a moment to close

    async def _follow(self) -> None:
        pods: dict[str, asyncio.Task[None]] = {}
        async with Kube(self._access) as kube:
            listing = await kube.list(PODS, self._namespace, labels=SELECTOR)
            for pod in listing.items:
                self._react(kube, pods, "ADDED", pod)
            try:
                stream = kube.watch(
                    PODS, self._namespace, listing.resource_version, labels=SELECTOR, seconds=WATCH_SECONDS
                )
                async with aclosing(stream):
                    async for event in stream:
                        self._react(kube, pods, event.type, event.object)
            finally:
                for task in pods.values():
                    task.cancel()
                await asyncio.gather(*pods.values(), return_exceptions=True)

    def _react(self, kube: Kube, pods: dict[str, "asyncio.Task[None]"], kind: str, pod: dict[str, Any]) -> None:
        if kind == "BOOKMARK":
            return
        name = pod["metadata"]["name"]
        if name not in pods and kind == "ADDED" and pod["status"]["phase"] == "Pending":
            pods[name] = asyncio.ensure_future(self._run(kube, pod))
        leaving = kind == "DELETED" or "deletionTimestamp" in pod["metadata"]
        if leaving and name in self.processes:
            self.processes[name].send_signal(signal.SIGTERM)

    async def _run(self, kube: Kube, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        folder = self._folder / name
        await self._mount(kube, pod, folder)
        variables = pod["spec"]["containers"][0].get("env", [])
        told = {variable["name"]: variable["value"] for variable in variables if "value" in variable} | {
            "BATCHJOB_WORKER_NAME": name,
            "BATCHJOB_PROBE_PORT": "0",
            "BATCHJOB_RUN_DIR": str(folder) + RUN_DIR,
            "BATCHJOB_REFERENCES_DIR": str(folder) + REFERENCES_DIR,
            "BATCHJOB_TERMINATION_LOG": str(folder / "termination"),
            "BATCHJOB_GRACE_SECONDS": "5",
            "PYTHONPATH": str(CHAOS),
        }
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("batchjob")), "worker", env={**os.environ, **told}, stderr=log
            )
        self.processes[name] = process
        try:
            await self._say(kube, pod, "Running", {"running": {}}, ready=True)
            code = await process.wait()
        finally:
            del self.processes[name]
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = folder / "termination"
        ended = {"exitCode": 128 - code if code < 0 else code, "message": said.read_text() if said.exists() else ""}
        await self._say(kube, pod, "Failed" if code else "Succeeded", {"terminated": ended}, ready=False)

    async def _mount(self, kube: Kube, pod: dict[str, Any], folder: Path) -> None:
        spec = pod["spec"]
        paths = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        folder.mkdir(parents=True)  # noqa: ASYNC240 - a test may block for a moment
        for volume in spec["volumes"]:
            files: dict[str, bytes] = {}
            if source := volume.get("secret"):
                found = await kube.get(SECRETS, self._namespace, source["secretName"])
                files = {key: base64.b64decode(value) for key, value in found["data"].items()}
            elif source := volume.get("configMap"):
                found = await kube.get(CONFIG_MAPS, self._namespace, source["name"])
                files = {key: value.encode() for key, value in found["data"].items()}
            for key, content in files.items():
                path = Path(str(folder) + paths[volume["name"]]) / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    async def _say(self, kube: Kube, pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool) -> None:
        try:
            status = {"status": pod_status(phase, state, ready=ready)}
            await kube.patch(PODS, self._namespace, pod["metadata"]["name"], status, subresource="status")
        except NotFound:
            pass  # deleted meanwhile
        except KubernetesError as error:
            print(f"pod status not written: {error}", file=sys.stderr)


def pod_status(phase: str, state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    """A pod's status as a kubelet would write it."""
    container = {"name": "worker", "image": "worker:test", "imageID": "", "ready": ready, "restartCount": 0}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"phase": phase, "conditions": conditions, "containerStatuses": [container | {"state": state}]}
