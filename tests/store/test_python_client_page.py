"""The page about the Python client: its examples run, and it names every call and every error."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchjob.client import Client, errors
from batchjob.core.events import LiveType
from batchjob.store import Store
from tests.support.gateway_world import fill_run
from tests.support.live_gateway import ApiServer, GatewayProcess, Teller, token
from tests.support.redis_server import RedisServer
from tests.support.workers import wait_for

PAGE = Path(__file__).parents[2].joinpath("docs", "how-to", "python-client.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def gateway(api: ApiServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    with api.serving() as url:
        process = GatewayProcess(url, redis_server.url, tmp_path).start()
        yield process
        process.kill()


async def test_the_examples_run(
    api: ApiServer, gateway: GatewayProcess, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(token("alice"))
    names: dict[str, Any] = {"TOKEN": token("alice")}

    def run(block: str) -> None:
        for written, here in (
            ("https://batchjob.example.org", gateway.url),
            ("http://batchjob-gateway.batchjob-system", gateway.url),
            ("/var/run/secrets/kubernetes.io/serviceaccount/token", str(file)),
        ):
            block = block.replace(written, here)
        exec(block, names)  # our own docs

    async def operate() -> None:
        """What the operator and a worker do of it."""

        async def made() -> str | None:
            return next(iter(api.batch_jobs), None)

        name = await wait_for(made, "the BatchJob to be made")
        await fill_run(store, f"uid-{name}")
        counts = {"total": 3, "succeeded": 2, "failed": 1}
        await Teller(store).tell(name, LiveType.STARTED)
        api.batch_jobs[name]["status"] = {"phase": "Failed", "counts": counts}
        result = {"processed": 3, **counts}
        await Teller(store).tell(name, LiveType.ERROR, error="one of three failed", result=result)

    assert len(BLOCKS) == 5
    first, second, *others = BLOCKS
    await asyncio.gather(asyncio.to_thread(run, first), operate())
    said = capsys.readouterr().out.splitlines()
    assert said == ["failed 2 of 3", "i0 {'length': 10}", "i2 {'length': 12}", "i1 timeout it took too long"]
    await asyncio.to_thread(run, second)
    assert capsys.readouterr().out == "100.0 % (3 of 3) \n"
    for block in others:
        await asyncio.to_thread(run, block)
    assert capsys.readouterr().out.startswith("/priority ")
    assert await names["failed_today"]() == []
    names["client"].close()


def test_it_names_every_call_and_every_error() -> None:
    calls = {name for name, method in vars(Client).items() if name[0] != "_" and callable(method)} - {"close"}
    listed = PAGE.split("## All calls\n", 1)[1].split("\n## ", 1)[0]
    assert {name for row in listed.splitlines() for name in re.findall(r"`(\w+)\(", row.split(" | ")[0])} == calls
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.ClientError)
    }
    rows = PAGE.split("| raised | when |\n", 1)[1].split("\n\n", 1)[0].splitlines()
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert named | {"ApiError", "ClientError"} == kinds
