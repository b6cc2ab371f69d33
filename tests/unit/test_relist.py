"""Comparing with the lists of names: a call that fails takes nothing away that was found before it."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.controller.informer import BARRED_SECONDS
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.relist import HistoryLost, Relist
from batchjob.errors import ApiUnavailable, Forbidden, KubernetesError
from batchjob.kube import Listing

GHOST = ("a", "ghost")


def body(namespace: str, name: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "5", "generation": 1},
        "spec": {},
    }


class Stage:
    """Namespaces `a` and `b`; the BatchJob `ghost` of `a` was deleted, and nobody said so."""

    def __init__(self, *there: dict[str, Any]) -> None:
        self.known = KnownBatchJobs()
        self.known.seen(body(*GHOST))
        self.there = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in there}
        self.kept: list[dict[str, Any]] = []  # of the last list
        self.refused: dict[object, KubernetesError] = {}  # by namespace or key, once
        self.kube = AsyncMock()
        self.kube.list.side_effect = self._list
        self.kube.get.side_effect = self._get
        self.relist = Relist(self.kube, ["a", "b"], self.known)

    async def _list(
        self, _: object, namespace: str, *, names_only: bool, shorten: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> Listing:
        assert names_only
        if error := self.refused.pop(namespace, None):
            raise error
        there = [item for key, item in self.there.items() if key[0] == namespace]
        self.kept = [*map(shorten, there)]
        return Listing(self.kept, "10")

    async def _get(self, _: object, *key: str) -> dict[str, Any]:
        if error := self.refused.pop(key, None):
            raise error
        return self.there[key[0], key[1]]


async def test_of_a_list_only_what_tells_one_from_another_is_kept() -> None:
    """`managedFields` of ten thousand would be 200 MiB at once."""
    stage = Stage(body("b", "new"))
    stage.there["b", "new"]["metadata"] |= {"managedFields": [{"manager": "kubectl"}], "annotations": {"a": "b"}}
    assert await stage.relist.compare() == ({GHOST, ("b", "new")}, True)
    assert stage.kept == [{"metadata": {"namespace": "b", "name": "new", "uid": "new", "generation": 1}}]


async def test_what_is_gone_is_told_though_the_list_of_another_namespace_failed_before() -> None:
    stage = Stage()
    stage.refused["b"] = ApiUnavailable("away")
    with pytest.raises(ApiUnavailable):
        await stage.relist.compare()
    assert await stage.relist.compare() == ({GHOST}, True)


async def test_what_is_gone_is_told_though_something_unknown_cannot_be_read() -> None:
    stage = Stage(body("a", "new"), body("b", "other"))
    stage.refused["a", "new"] = ApiUnavailable("away")
    assert await stage.relist.compare() == ({GHOST, ("b", "other")}, False)
    assert await stage.relist.compare() == ({("a", "new")}, True)


async def test_a_history_that_went_back_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd was put back to a backup: news would have versions that we take for old ones, for hours."""
    stage = Stage(body(*GHOST))
    stage.known.seen(body("b", "later") | {"metadata": body("b", "later")["metadata"] | {"resourceVersion": "11"}})
    with pytest.raises(ApiUnavailable, match="older"):
        await stage.relist.compare()
    assert stage.known.get(GHOST), "one such list says nothing"
    monkeypatch.setattr("batchjob.controller.relist.SETTLE_SECONDS", 0)
    with pytest.raises(HistoryLost, match="backup"):
        await asyncio.wait_for(stage.relist.keep_comparing(3600, lambda _: None), 5)


async def test_an_old_list_alone_is_made_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.controller.relist.SETTLE_SECONDS", 0)
    stage, told = Stage(), asyncio.Event()
    stage.kube.list.side_effect = [Listing([], "4")] * 2
    relist = Relist(stage.kube, ["a"], stage.known)
    for _ in range(2):
        with pytest.raises(ApiUnavailable):
            await relist.compare()
    stage.kube.list.side_effect = [Listing([], "10")]
    run = asyncio.create_task(relist.keep_comparing(3600, lambda _: told.set()))
    await asyncio.wait_for(told.wait(), 5)
    run.cancel()
    assert stage.known.get(GHOST) is None


async def test_nothing_is_complete_while_a_batch_job_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.controller.relist.SETTLE_SECONDS", 0)
    stage = Stage(body("a", "new"))
    stage.refused["a", "new"] = ApiUnavailable("away")
    await asyncio.wait_for(stage.relist.complete(), 5)
    assert stage.known.get(("a", "new"))


async def test_a_namespace_that_may_not_be_read_keeps_nobody_from_seeing_to_the_others() -> None:
    stage = Stage(body("a", "new"))
    stage.known.seen(body("b", "unseen"))
    for _ in range(2):
        stage.refused["b"] = Forbidden("no", status=403)
        assert (await stage.relist.uids()) == ({"new"}, {"b"})
    stage.refused["b"] = Forbidden("no", status=403)
    assert await stage.relist.compare() == ({GHOST, ("a", "new")}, False)
    assert stage.known.get(("b", "unseen")), "nothing is known of it, neither that it is gone"


async def test_where_no_namespace_may_be_read_nothing_is_taken_for_gone() -> None:
    stage = Stage()
    relist = Relist(stage.kube, [None], stage.known)
    for call in (relist.uids, relist.compare):
        stage.refused[None] = Forbidden("no", status=403)
        with pytest.raises(Forbidden):
            await call()
    assert stage.known.get(GHOST)


async def test_a_leader_does_not_wait_for_a_namespace_that_stays_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.controller.relist.SETTLE_SECONDS", 0)
    stage, now, asked = Stage(body("a", "new")), 0.0, 0
    monkeypatch.setattr("batchjob.controller.relist.time", Mock(monotonic=lambda: now))

    async def list_names(resource: object, namespace: str, **options: Any) -> Listing:
        nonlocal now, asked
        if namespace == "b":
            now += 1
            asked += 1
            raise Forbidden("no", status=403)
        return await stage._list(resource, namespace, **options)

    stage.kube.list.side_effect = list_names
    await asyncio.wait_for(stage.relist.complete(), 5)
    assert stage.known.get(("a", "new"))
    assert asked > BARRED_SECONDS, "it may be a Role that is not in force yet"


async def test_a_leader_does_not_begin_while_a_namespace_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.controller.relist.SETTLE_SECONDS", 0)
    stage = Stage(body("b", "new"))
    refusals = [Forbidden("no", status=403)] * 6

    async def list_names(resource: object, namespace: str, **options: Any) -> Listing:
        if namespace == "b" and refusals:
            raise refusals.pop()
        return await stage._list(resource, namespace, **options)

    stage.kube.list.side_effect = list_names
    await asyncio.wait_for(stage.relist.complete(), 5)
    assert stage.known.get(("b", "new"))
