"""What an owner's runs remember for each other: no longer than was said, no more than has room."""

from typing import Any

import pytest
from redis.asyncio import Redis

from batchjob.core.items import Item
from batchjob.errors import StoreUnavailable
from batchjob.store import RunStore, Store, caches, run
from batchjob.store.keys import cache_keys
from batchjob.worker import Context, Processor
from batchjob.worker.cache import KEY_LIMIT, VALUE_LIMIT, Cache
from tests.support.workers import Workers, wait_for

BESIDES = 160  # bytes of the server's own for each entry
ENTRY_BYTES = 104 + BESIDES  # a key of four characters and a value of a hundred bytes
WRONG: list[tuple[str, Any, float, type[Exception], str]] = [
    ("", b"", 1, ValueError, "a key has 1 to 512 characters, not 0"),
    ("k" * (KEY_LIMIT + 1), b"", 1, ValueError, "hash what is longer"),
    ("key", "text", 1, TypeError, "is str and no bytes: encode it"),
    ("key", bytes(VALUE_LIMIT + 1), 1, ValueError, "has 65537 bytes, and may have 65536"),
    ("key", b"", 0.5, ValueError, "0.5 seconds are not from 1 to 2592000"),
    ("key", b"", 1e9, ValueError, "are not from 1 to 2592000"),
]


@pytest.fixture
def a_run(store: Store) -> RunStore:
    return store.run("any", "w")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for three."""
    monkeypatch.setattr(run, "CACHE_BYTES", 3 * ENTRY_BYTES)


async def size(redis: Redis) -> tuple[int, int]:
    """Bytes as counted, and as they are with what the server needs for each."""
    entries, due, counted = cache_keys("owner")
    found = await redis.hgetall(entries)
    assert await redis.zcard(due) == len(found)
    return int(await redis.hget(counted, "bytes") or 0), sum(
        len(key) + len(value) + BESIDES for key, value in found.items()
    )


async def test_a_value_is_there_for_as_long_as_was_said(a_run: RunStore, redis: Redis) -> None:
    await a_run.cache_put("owner", "long", b"\0\xff", 60_000)
    await a_run.cache_put("owner", "short", b"value", 20)

    async def gone() -> bool | None:
        return await a_run.cache_get("owner", "short") is None or None

    await wait_for(gone, "the value to be gone")
    assert await a_run.cache_get("owner", "long") == b"\0\xff"
    assert await a_run.cache_get("another", "long") is None
    await a_run.cache_put("owner", "more", b"value", 1000)
    assert await redis.hkeys(cache_keys("owner")[0]) == [b"long", b"more"], "what is over makes room"
    assert [await redis.pttl(key) > 50_000 for key in cache_keys("owner")] == [True] * 3, "as long as the longest"


async def test_a_value_takes_the_place_of_the_one_before(a_run: RunStore, redis: Redis) -> None:
    for value in (b"a" * 1000, b"b" * 10, b"c" * 100):
        await a_run.cache_put("owner", "key1", value, 60_000)
    assert await a_run.cache_get("owner", "key1") == b"c" * 100
    assert await size(redis) == (ENTRY_BYTES, ENTRY_BYTES)


@pytest.mark.usefixtures("narrow")
async def test_where_it_is_full_those_go_that_would_have_gone_soonest(a_run: RunStore, redis: Redis) -> None:
    for key, ms in (("key1", 70_000), ("key2", 50_000), ("key3", 60_000), ("key4", 90_000)):
        await a_run.cache_put("owner", key, b"v" * 100, ms)
    kept = [key for key in ("key1", "key2", "key3", "key4") if await a_run.cache_get("owner", key)]
    assert kept == ["key1", "key3", "key4"]
    assert await size(redis) == (3 * ENTRY_BYTES, 3 * ENTRY_BYTES)


async def test_what_is_counted_of_small_values_is_about_what_the_server_needs(a_run: RunStore, redis: Redis) -> None:
    for number in range(1000):
        await a_run.cache_put("owner", f"key{number}", b"1", 60_000)
    needed = sum([await redis.memory_usage(key, samples=0) or 0 for key in cache_keys("owner")])
    counted, _ = await size(redis)
    assert 0.7 < counted / needed < 1.5


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    """All caches together have room for six values."""
    monkeypatch.setattr(caches, "CACHES_BYTES", 6 * ENTRY_BYTES)


async def fill(a_run: RunStore, **values: int) -> None:
    """Values of each owner, that which goes soonest first."""
    for owner, number in values.items():
        for n in range(number):
            await a_run.cache_put(owner, f"key{n}", b"v" * 100, 60_000 + n * 1000)


async def kept(a_run: RunStore, owner: str) -> list[int]:
    return [n for n in range(10) if await a_run.cache_get(owner, f"key{n}")]


@pytest.mark.usefixtures("six")
async def test_all_owners_together_have_a_bound_and_the_largest_caches_lose_what_goes_soonest(
    a_run: RunStore, store: Store, redis: Redis
) -> None:
    await fill(a_run, owner=5, second=4, small=1)
    assert await store.runs() == {}
    assert await kept(a_run, "owner") == [3, 4]
    assert await kept(a_run, "second") == [2, 3]
    assert await kept(a_run, "small") == [0], "who has little loses nothing"
    assert await size(redis) == (2 * ENTRY_BYTES, 2 * ENTRY_BYTES)
    assert [await redis.pttl(key) > 50_000 for key in cache_keys("owner")] == [True] * 3
    await fill(a_run, owner=3)
    await store.runs()
    assert await kept(a_run, "owner") == [2, 3, 4], "there is room for six"


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    "forged",
    [
        *(("HSET", 2, "bytes", said) for said in ("none of your business", "-1", "9" * 30, "nan")),
        *(("LPUSH", number, "x") for number in (0, 1, 2)),
    ],
    ids=str,
)
async def test_a_cache_whose_owner_wrote_into_it_by_hand_goes_as_a_whole_and_stops_no_sweep(
    a_run: RunStore, store: Store, redis: Redis, forged: tuple[Any, ...]
) -> None:
    await fill(a_run, owner=7, second=1)
    command, number, *words = forged
    if command == "LPUSH":
        await redis.delete(cache_keys("owner")[number])
    await a_run._connection.command(command, cache_keys("owner")[number], *words)
    await store.runs()
    assert await redis.keys("bj:cache:{owner}*") == []
    assert await kept(a_run, "second") == [0]


async def test_a_large_cache_is_cut_in_many_calls(a_run: RunStore, store: Store) -> None:
    entries, due, counted = cache_keys("large")
    connection = a_run._connection
    numbers = range(2500)
    await connection.command("HSET", entries, *(word for n in numbers for word in (f"k{n}", b"v")))
    await connection.command("ZADD", due, *(word for n in numbers for word in (10**13 + n, f"k{n}")))
    await connection.command("HSET", counted, "bytes", sum(len(f"k{n}") + 1 + BESIDES for n in numbers))
    await store.caches.bound([entries.encode()], 100)
    assert await connection.command("HLEN", entries) == 0
    assert int(await connection.command("HGET", counted, "bytes")) == 0
    await connection.command("UNLINK", counted)


class Remembering(Processor):
    """It answers with what the cache had, which it is told if there was nothing."""

    async def process(self, item: Item, context: Context) -> str:
        known = await context.cache.get("answer")
        await context.cache.set("answer", item.id.encode(), 60)
        return known.decode() if known else "nothing"


async def test_runs_of_one_owner_share_it_and_those_of_another_do_not(workers: Workers) -> None:
    said = []
    for owner, item in (("alice", "first"), ("alice", "second"), ("bob", "third")):
        source = {"items": [{"id": item, "data": {}}]}
        found = await workers.open(
            {"type": "custom", "owner": owner, "custom": {"processor": "chaos"}, "source": source}
        )
        await workers.work(found, Remembering())
        said += [result.result.decode() async for result in workers.store.results(found.uid)]
    assert said == ['"nothing"', '"first"', '"nothing"']


async def test_a_store_that_is_away_is_a_cache_that_has_nothing() -> None:
    class Away:
        async def cache_get(self, *_: object) -> None:
            raise StoreUnavailable("away")

        cache_put = cache_get

    store: Any = Away()
    cache = Cache(store, "owner")
    await cache.set("key", b"value", 60)
    assert await cache.get("key") is None


@pytest.mark.parametrize(("key", "value", "seconds", "error", "said"), WRONG)
async def test_what_cannot_be_kept_is_told(
    key: str, value: Any, seconds: float, error: type[Exception], said: str, a_run: RunStore
) -> None:
    with pytest.raises(error, match=said):
        await Cache(a_run, "owner").set(key, value, seconds)
