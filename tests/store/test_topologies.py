"""The store on more than one server: a cluster, and a master that is replaced."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchjob.api.run import EXIT_CLOSED, StoreAccess
from batchjob.api.status import Phase
from batchjob.core.items import RunState
from batchjob.core.queries import parse_query
from batchjob.core.rows import JobRow
from batchjob.store import Store
from tests.support.chaos.chaos import Chaos
from tests.support.redis_server import RedisServer
from tests.support.topologies import a_cluster, a_watched_pair, ask, promoted
from tests.support.workers import Workers, ended, wait_for


def items(count: int, **data: str) -> dict[str, Any]:
    named = [{"id": f"i{n}", "data": data} for n in range(count)]
    return {"type": "custom", "custom": {"processor": "chaos"}, "source": {"items": named}, "concurrency": 4}


async def test_runs_spread_over_a_cluster_and_each_lives_on_one_server(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        async with Store.connect(StoreAccess(url=url), name="operator") as store:
            await store.check()
            await store.load_scripts()
            workers = Workers(store, url, tmp_path / "pods")
            runs = [await workers.open(items(12)) for _ in range(8)]
            assert await store.user_names() == set(await store.runs()) == {run.uid for run in runs}
            codes = await asyncio.gather(*(workers.work(run, Chaos(), name=f"w-{run.uid}") for run in runs))
            assert codes == [EXIT_CLOSED] * 8
            for run in runs:
                assert (await workers.snapshot(run)).counts.succeeded == 12
                assert len([result async for result in store.results(run.uid)]) == 12
            homes = [{key.split(b":")[1] for key in await ask(server, "KEYS", "{bj:*")} for server in servers]
            assert all(homes), "a server holds no run"
            assert sum(map(len, homes)) == 8, "a run is on two servers"
            assert set(await store.changed(1)) == {run.uid for run in runs}
            for run in runs:
                await store.revoke(run.uid)
                await store.delete_run(run.uid)
            assert [await ask(server, "KEYS", "*") for server in servers] == [[], [], []]


async def test_the_index_is_on_one_server_of_a_cluster_and_searched_there(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        async with Store.connect(StoreAccess(url=url), name="operator") as store:
            known: dict[str, Any] = {"queue": "q", "namespace": "n", "type": "export", "labels": ("a=b",), "created": 9}
            rows = [JobRow(phase="Failed", name=f"j{n}", uid=str(n), owner=f"o{n}", **known) for n in range(5)]
            assert await store.index.keep({row.id: row for row in rows}, "a") is None
            assert await store.index.keep({row.id: None for row in rows[1:]}, "b") == "a"
            page = await store.index.search(parse_query("j label.a:b status:failed"), 10, owner="o0")
            assert page.rows == rows[:1]
            assert (await store.index.counts(["q"]))["q"][Phase.FAILED] == 1
            homes = [await ask(server, "KEYS", "bj:index:*") for server in servers]
            assert sorted(map(bool, homes)) == [False, False, True]


@pytest.mark.parametrize("how", [RedisServer.kill, RedisServer.freeze])
async def test_a_run_goes_on_where_a_sentinel_made_the_replica_the_master(
    tmp_path: Path, how: Callable[[RedisServer], None]
) -> None:
    async with (
        a_watched_pair(tmp_path) as (master, replica, url),
        Store.connect(StoreAccess(url=url), name="operator") as store,
    ):
        await store.load_scripts()
        workers = Workers(store, url, tmp_path / "pods")
        run = await workers.open(items(60, do="sleep", seconds="0.1"))
        with workers.process(run) as worker:
            await workers.wait(run, lambda s: s.counts.succeeded >= 8, "some items to finish")
            await ask(master, "WAIT", 1, 5000)
            how(master)
            await promoted(replica)
            await wait_for(lambda: granted(store, run.uid), "the operator to make the user again")
            assert await ended(worker) == EXIT_CLOSED
        found = await workers.snapshot(run)
        assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 60)
        results = [json.loads(result.result) async for result in store.results(run.uid)]
        assert [answer["attempt"] for answer in results] == [1] * 60


async def granted(store: Store, uid: str) -> bool | None:
    try:
        await store.grant(uid, "secret")
    except Exception:  # noqa: BLE001 - until the sentinel has told of the new master
        return None
    return True
