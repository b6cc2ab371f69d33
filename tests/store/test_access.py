"""The ACL user of a run reaches its own run and nothing else, inside scripts too."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.items import Failed, Item, Outcome, Retried, RunRules, RunState, Succeeded
from batchjob.core.rates import Rate, rate_key
from batchjob.errors import ConfigurationError, StoreNotReady
from batchjob.store import Commit, Store, scripts
from batchjob.store.connection import call
from batchjob.store.keys import run_key, run_keys
from tests.support.redis_server import RedisServer
from tests.support.store_runs import Runs, commit, done

AsUser = Callable[[str], Store]


@pytest.fixture
async def as_user(redis_server: RedisServer) -> AsyncIterator[AsUser]:
    """The store as the worker of a run sees it."""
    stores: list[Store] = []

    def connect(uid: str) -> Store:
        access = StoreAccess(url=redis_server.url, username=f"bj-{uid}", password=f"secret-{uid}")
        stores.append(Store.connect(access, name=f"worker-of-{uid}"))
        return stores[-1]

    yield connect
    for store in stores:
        await store.close()


async def open_with_user(runs: Runs, *, reads: str | None = None, items: int = 8) -> str:
    uid = await runs.open(items=items, chunk=4)
    await runs.store.grant(uid, f"secret-{uid}", reads=reads)
    return uid


async def test_a_worker_can_do_everything_it_has_to_as_the_user_of_its_run(
    runs: Runs, store: Store, as_user: AsUser
) -> None:
    uid = await runs.open_empty(max_losses=2, rules=RunRules(have_destination=True))
    await store.grant(uid, f"secret-{uid}")
    worker, other = as_user(uid).run(uid, "w1"), as_user(uid).run(uid, "w2")
    load = await worker.claim_load()
    assert load
    await load.trouble("SourceUnreachable", "503")
    await load.renew()
    assert not await load.is_rebuilt()
    await load.keep({}, 0)
    await load.put([[Item(n, f"i{n}", {}) for n in range(8)]])
    await load.finish(8, "a" * 64, "etag")
    [chunk] = (await worker.exchange([], 8, 8)).chunks
    outcomes: list[Outcome] = [
        Succeeded(0, b"1"),
        Succeeded(1),
        Failed(2, "refused", "no"),
        Retried(3, "upstream", "503", 0),
    ]
    news = Commit(chunk.id, chunk.fence, outcomes, {"n": 1}, started=6, parts={"part-0": b"{}"})
    await worker.ledger_mark(1, chunk.id, chunk.fence, b"x")
    assert await worker.ledger_get(1) == b"x"
    await worker.ledger_clear(1, chunk.id, chunk.fence)
    again = (await worker.exchange([news], 1)).chunks
    await worker.exchange([commit(again[0], release=True)], 0)
    await runs.lose_workers(uid)
    while (grant := await other.exchange([], 8, 8)).state is RunState.OPEN:
        await other.exchange([done(chunk) for chunk in grant.chunks], 0)
    await worker.wait(1)
    assert await worker.note("columns", b"a") == b"a"
    assert await worker.parts() == {"part-0": b"{}"}
    assert [result.position async for result in worker.results()] == [0]
    seal = await other.claim_seal()
    assert seal
    assert ((await seal.unsealed()).bytes, await worker.origin()) == (3, ("a" * 64, ""))
    await seal.record("part-0", b'{"positions":"0"}', await seal.take(8))
    assert await worker.sealed() == {"part-0": b'{"positions":"0"}'}
    await seal.renew()
    await seal.release()
    seal = await worker.claim_seal()
    assert seal
    await seal.finish("s3://b/manifest.json", "a" * 64)
    assert (await worker.state()).state is RunState.CLOSED
    assert uid in await store.changed(0)
    assert (await runs.oracle(uid).check())["succeeded"] == 7


async def test_the_user_of_one_run_cannot_touch_another(runs: Runs, store: Store, as_user: AsUser) -> None:
    mine, theirs = await open_with_user(runs), await open_with_user(runs)
    intruder = as_user(mine)
    worker = intruder.run(theirs, "w1")
    before = await store.snapshot(theirs)
    for attempt in (
        worker.state(), worker.exchange([], 8), worker.claim_load(), worker.claim_seal(), worker.parts(),
        worker.origin(),
        worker.ledger_get(0), worker.ledger_mark(0, "c", 1, b"x"), worker.note("a", b"b"), worker.wait(5),
        intruder.snapshot(theirs), intruder.cancel(theirs), intruder.abandon(theirs, "x"),
        intruder.dead_letters(theirs, 10), intruder.delete_run(theirs), anext(intruder.results(theirs)),
    ):  # fmt: skip
        with pytest.raises(StoreNotReady, match=r"(?i)no permissions|can't access|NOPERM"):
            await attempt
    assert await store.snapshot(theirs) == before


async def test_a_script_cannot_be_turned_on_another_runs_keys(runs: Runs, as_user: AsUser) -> None:
    mine, theirs = await open_with_user(runs), await open_with_user(runs)
    command = list(call(scripts.CONCLUDE, mine, RunState.CANCELLED, "", ""))
    for index in range(len(run_keys(theirs))):
        mixed = command.copy()
        mixed[3 + index] = run_keys(theirs)[index]
        with pytest.raises(StoreNotReady):
            await as_user(mine)._connection.command(*mixed)


@pytest.mark.parametrize(
    "command",
    [
        ("EVAL", "while true do end", 0),
        ("SCRIPT", "LOAD", "return 1"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "LOAD", "#!lua name=x\n"),
        ("ACL", "LIST"),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("CLIENT", "LIST"),
        ("MONITOR",),
        ("SUBSCRIBE", "x"),
        ("SET", "{bj:run-1}:meta", "x"),
        ("GET", "bj:other"),
    ],
    ids=lambda command: command[0].lower(),
)
async def test_the_user_of_a_run_may_run_no_other_command(
    runs: Runs, as_user: AsUser, command: tuple[str | int, ...]
) -> None:
    uid = await open_with_user(runs)
    assert uid == "run-1"
    with pytest.raises(StoreNotReady, match="no permissions"):
        await as_user(uid)._connection.command(*command)


async def test_a_run_may_read_the_results_of_the_run_it_names_and_not_write_them(
    runs: Runs, store: Store, as_user: AsUser
) -> None:
    parent = await open_with_user(runs)
    [chunk, _] = await runs.claim(parent)
    await store.run(parent, "w1").exchange([commit(chunk, [Succeeded(0, b'{"a":1}'), Succeeded(2, b"2")])], 0)
    child = await open_with_user(runs, reads=parent)
    reader = as_user(child)
    assert [tuple(result) async for result in reader.results(parent)] == [
        (0, "item-0", b'{"a":1}'),
        (2, "item-2", b"2"),
    ]
    before = await store.snapshot(parent)
    worker = reader.run(parent, "w1")
    assert await worker.origin() == ("0" * 64, "")
    for write in (
        worker.exchange([], 8), worker.ledger_mark(0, "c", 1, b"x"), reader.cancel(parent), reader.delete_run(parent),
        reader._connection.command("HSET", run_key(parent, "results"), "0", "forged"),
        reader._connection.command("HDEL", run_key(parent, "results"), "0"),
        reader._connection.command("LPOP", run_key(parent, "pending")),
    ):  # fmt: skip
        with pytest.raises(StoreNotReady):
            await write
    assert await store.snapshot(parent) == before
    assert [result async for result in as_user(parent).results(parent)] != []
    with pytest.raises(StoreNotReady):
        await anext(as_user(parent).results(child))


async def test_a_grant_can_be_repeated_and_changed_without_harm(runs: Runs, store: Store, as_user: AsUser) -> None:
    parent = await open_with_user(runs)
    uid = await open_with_user(runs)
    worker = as_user(uid)
    assert (await worker.run(uid, "w1").exchange([], 4)).chunks
    with pytest.raises(StoreNotReady):
        await anext(worker.results(parent))
    await store.grant(uid, f"secret-{uid}", reads=parent)
    assert [result async for result in worker.results(parent)] == []
    await store.grant(uid, f"secret-{uid}")
    with pytest.raises(StoreNotReady):
        await anext(worker.results(parent))
    assert await store.user_names() == {parent, uid}


async def test_a_revoked_user_is_out_and_a_new_grant_lets_it_in_again(
    runs: Runs, store: Store, as_user: AsUser
) -> None:
    uid = await open_with_user(runs)
    worker = as_user(uid).run(uid, "w1")
    await worker.state()
    for _ in range(2):
        await store.revoke(uid)
        assert await store.user_names() == set()
        with pytest.raises(StoreNotReady):
            await worker.state()
    await store.grant(uid, f"secret-{uid}")
    await worker.state()


async def test_a_wrong_password_does_not_get_in(runs: Runs, redis_server: RedisServer) -> None:
    uid = await open_with_user(runs)
    access = StoreAccess(url=redis_server.url, username=f"bj-{uid}", password="guess")
    async with Store.connect(access, name="x") as store:
        with pytest.raises(StoreNotReady):
            await store.run(uid, "w1").state()


@pytest.mark.parametrize("uid", ["", "*", "a*", "a b", "a}:*", "[a-z]", "ä"])
async def test_a_uid_that_would_open_more_than_one_run_is_refused(store: Store, redis: Redis, uid: str) -> None:
    with pytest.raises(ConfigurationError):
        await store.grant(uid, "x")
    with pytest.raises(ConfigurationError):
        await store.grant("fine", "x", reads=uid)
    with pytest.raises(ConfigurationError):
        await store.open_run(uid, epoch="e", max_losses=3, created_for="a/b")
    assert await redis.keys("*") == []


async def test_a_run_can_add_a_hint_for_the_operator_but_not_touch_the_others_hints(
    runs: Runs, store: Store, as_user: AsUser
) -> None:
    uid = await open_with_user(runs)
    connection = as_user(uid).run(uid, "w1")._connection
    await connection.command("ZADD", "bj:dirty", 1, b"\xff")
    for forbidden in (("DEL", "bj:dirty"), ("ZREM", "bj:dirty", "x"), ("ZRANGE", "bj:dirty", 0, -1)):
        with pytest.raises(StoreNotReady):
            await connection.command(*forbidden)
    assert "\ufffd" in await store.changed(0.1)


async def test_a_run_knows_for_whom_it_was_opened(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1, chunk=1)
    owner = await store.created_for(uid)
    assert owner is not None
    assert "/" in owner
    assert await store.created_for("unknown") is None


async def test_the_user_of_a_run_reaches_its_own_cache_alone(store: Store, as_user: AsUser) -> None:
    await store.grant("cached", "secret-cached", cache="mine")
    own = as_user("cached").run("cached", "w1")
    await own.cache_put("mine", "key", b"value", 60_000)
    assert await own.cache_get("mine", "key") == b"value"
    await store.run("another", "w1").cache_put("other", "key", b"secret", 60_000)
    for reach in (own.cache_get("other", "key"), own.cache_put("other", "key", b"poison", 60_000)):
        with pytest.raises(StoreNotReady):
            await reach
    assert await store.run("another", "w1").cache_get("other", "key") == b"secret"


async def test_the_user_of_a_run_reaches_its_own_rate_alone(store: Store, as_user: AsUser) -> None:
    mine, other = rate_key("team", "mail"), rate_key("another-team", "mail")
    assert mine != other
    await store.grant("rated", "secret-rated", rates=[mine])
    own = as_user("rated").run("rated", "w1")
    assert (await own.take_rate(mine, Rate(1000, 1), 1, 1))[0]
    await own.hold_rate(mine, 0.01)
    with pytest.raises(StoreNotReady):
        await own.take_rate(other, Rate(1000, 1), 1, 1)
