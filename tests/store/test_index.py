"""The index of BatchJobs: what a search finds, in which order, how far it looks, and what it never shows."""

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from batchjob.api.status import Phase
from batchjob.core.queries import parse_query
from batchjob.core.rows import JobRow
from batchjob.errors import CursorError, QueryError, StoreFull
from batchjob.store import Page, Store, index
from batchjob.store.keys import INDEX, index_counts, index_set
from tests.support.manifests import inline, noop
from tests.support.workers import Workers

NOW: Final = 1_800_000_000
DAY: Final = 86_400


def row(name: str, **fields: Any) -> JobRow:
    known: dict[str, Any] = {
        "phase": "Succeeded",
        "queue": "export",
        "owner": "alice",
        "namespace": "team",
        "type": "export",
    }
    known |= {"uid": f"uid-of-{name}", "created": NOW - 60}
    return JobRow(name=name, **known | fields)


async def put(store: Store, *rows: JobRow) -> None:
    await store.index.keep({one.id: one for one in rows}, "mark")


async def find(store: Store, text: str, **limits: Any) -> list[str]:
    """The names on all pages."""
    names: list[str] = []
    page = Page([], "", 0)
    while page.cursor is not None:
        page = await store.index.search(parse_query(text), NOW, cursor=page.cursor or None, **limits)
        names += [found.name for found in page.rows]
    return names


async def test_a_list_is_newest_first_and_a_row_is_what_was_put(store: Store) -> None:
    full = row(
        "b", created=NOW - 50, labels=("team=x",), errors=("timeout",), reason="WorkersFailed", started=NOW - 40,
        ended=NOW - 30, total=9, waiting=1, delayed=2, active=1, succeeded=3, failed=1, cancelled=1,
    )  # fmt: skip
    await put(store, row("a", created=NOW - 60), full, row("c", created=NOW - 70, owner=None))
    page = await store.index.search(parse_query(""), NOW)
    assert [found.name for found in page.rows] == ["b", "a", "c"]
    assert page.rows[0] == full
    assert (page.cursor, page.at_most) == (None, 3)


MIXED: Final = (
    row("daily-1", created=NOW - DAY, labels=("team=search", "app.io/part=a b")),
    row("daily-2", phase="Failed", created=NOW - 90, errors=("timeout", "0123456789ab"), reason="WorkersFailed"),
    row("daily-22", phase="Running", queue="nightly", created=NOW - 80, type="custom"),
    row("weekly", phase="Queued", owner="bob", namespace="other", created=NOW - 2 * DAY, reason="ConcurrencyLimit"),
    row("daily", phase="Failed", owner='b "c"', created=NOW, errors=("refused",), labels=("team=mail",)),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "daily daily-22 daily-2 daily-1 weekly"),
        ("status:failed", "daily daily-2"),
        ("status:failed status:queued", "daily daily-2 weekly"),
        ("-status:failed -status:queued", "daily-22 daily-1"),
        ("status:failed owner:alice", "daily-2"),
        ('owner:"b \\"c\\""', "daily"),
        ("owner:b", ""),
        ("queue:nightly", "daily-22"),
        ("type:custom type:export -queue:export", "daily-22"),
        ("namespace:other", "weekly"),
        ("error:timeout", "daily-2"),
        ("error:0123456789ab error:refused", "daily daily-2"),
        ("reason:WorkersFailed", "daily-2"),
        ("label.team:search", "daily-1"),
        ("label.team:search label.team:mail", "daily daily-1"),
        ("label.team:search label.app.io/part:x", ""),
        ("daily", "daily daily-22 daily-2 daily-1"),
        ("name:daily", "daily"),
        ("name:daily-2 weekly", ""),
        ("daily-2 weekly", "daily-22 daily-2 weekly"),
        ("daily -daily-2", "daily daily-1"),
        ("-name:daily", "daily-22 daily-2 daily-1 weekly"),
        ("dail status:failed", "daily daily-2"),
        ("nowhere", ""),
        ("age:<1d", "daily daily-22 daily-2"),
        ("age:>1d", "weekly"),
        ("age:>80s age:<2d", "daily-2 daily-1"),
        ("age:<80s", "daily"),
        ("daily age:>1m -status:succeeded", "daily-22 daily-2"),
        ("daily-1 age:<1d", ""),
        ("name:daily age:>1m", ""),
    ],
)
async def test_a_query_finds_what_it_says(store: Store, text: str, names: str) -> None:
    await put(store, *MIXED)
    assert await find(store, text) == names.split()
    assert await find(store, text, limit=1) == names.split()


async def test_a_search_is_kept_to_an_owner_and_to_namespaces_whatever_it_says(store: Store) -> None:
    await put(store, *MIXED)
    assert await find(store, "", owner="bob") == ["weekly"]
    assert await find(store, "owner:alice", owner="bob") == []
    assert await find(store, "owner:alice owner:bob -owner:alice weekly", owner="bob") == ["weekly"]
    assert await find(store, "-type:email", owner="alice", limit=2) == ["daily-22", "daily-2", "daily-1"]
    assert await find(store, "", namespaces={"other"}) == ["weekly"]
    assert await find(store, "namespace:team", namespaces={"other", "third"}) == []
    assert await find(store, "", namespaces=[]) == []
    assert await find(store, "", owner="") == [], "an empty owner is nobody, not everybody"
    with pytest.raises(QueryError, match="64 namespaces"):
        await find(store, "", namespaces=[f"n{n}" for n in range(65)])


async def test_a_cursor_is_of_one_search_of_one_owner(store: Store) -> None:
    await put(store, *MIXED)
    query = parse_query("status:failed status:running")
    page = await store.index.search(query, NOW, owner="alice", limit=1)
    assert page.cursor is not None
    other = parse_query("status:failed")
    for refused in (
        store.index.search(other, NOW, owner="alice", cursor=page.cursor),
        store.index.search(query, NOW, owner="bob", cursor=page.cursor),
        store.index.search(query, NOW, cursor=page.cursor),
        store.index.search(query, NOW, owner="alice", namespaces=["team"], cursor=page.cursor),
        store.index.search(query, NOW, owner="alice", cursor=page.cursor[:-1]),
        store.index.search(query, NOW, owner="alice", cursor="Ä" + page.cursor),
        store.index.search(query, NOW, owner="alice", cursor=""),
    ):
        with pytest.raises(CursorError, match="another search"):
            await refused
    again = parse_query("status:running status:failed")
    rest = await store.index.search(again, NOW, owner="alice", cursor=page.cursor)
    assert [found.name for found in rest.rows] == ["daily-2"]


async def test_pages_neither_repeat_nor_leave_out_what_was_there_all_the_time(store: Store) -> None:
    rows = [row(f"j{n}", created=NOW - n // 7) for n in range(60)]  # seven a second
    await put(store, *rows)
    first = await store.index.search(parse_query("status:succeeded"), NOW, limit=25)
    gone, moved = rows[40], msgspec.structs.replace(rows[50], phase="Failed")
    await store.index.keep({gone.id: None, moved.id: moved}, "mark")
    await put(store, row("newer", created=NOW + 5))
    seen = [*first.rows]
    page = first
    while page.cursor is not None:
        page = await store.index.search(parse_query("status:succeeded"), NOW, limit=7, cursor=page.cursor)
        seen += page.rows
    assert sorted(found.name for found in seen) == sorted(r.name for r in rows if r not in (gone, rows[50]))


async def test_a_choice_of_several_is_in_one_order_over_pages_and_reads(store: Store) -> None:
    """More than one read gives, where the newest of one set are newer than all of another, and the other way round."""
    rows = [row(f"j{n}", created=NOW - n, queue=("a" if n < 250 else "b") if n % 3 else "c") for n in range(750)]
    await put(store, *rows)
    wanted = [one.name for one in rows if one.queue != "c"]
    for limit in (7, 500):
        assert await find(store, "queue:a queue:b", limit=limit) == wanted
    labels = [row(f"l{n}", created=NOW - n, labels=("l=1", "l=2")[: 1 + n % 2]) for n in range(300)]
    await put(store, *labels)
    assert await find(store, "label.l:1 label.l:2", limit=500) == [one.name for one in labels], "none comes twice"


def matches(text: str, now: int) -> Callable[[JobRow], bool]:
    """The query language once more, by looking at every row."""
    query = parse_query(text)
    older, younger = query.ages()

    def has(found: JobRow, field: str, values: list[str]) -> bool:
        if field == "word":
            return found.name.startswith(tuple(values))
        if field.startswith("label."):
            return any(f"{field[6:]}={value}" in found.labels for value in values)
        if field == "error":
            return any(value in found.errors for value in values)
        of = found.phase.lower() if field == "status" else getattr(found, field)
        return of in values

    def check(found: JobRow) -> bool:
        young = younger is None or now - found.created < younger
        old = older is None or now - found.created > older
        return young and old and all(has(found, f, v) != x for (f, x), v in query.groups().items())

    return check


async def test_searches_agree_with_looking_at_every_row_whatever_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small budget breaks searches off at every place; rows change and go between them."""
    monkeypatch.setattr(index, "BUDGET", 40)
    monkeypatch.setattr(index, "CALLS", 2)
    dice = random.Random(4)
    owners, queues = ["alice", "bob", None], ["q1", "q2"]
    words = [f"status:{p.lower()}" for p in Phase]
    words += [f"-{word}" for word in words[:3]] + ["owner:alice", "owner:bob", "queue:q1", "-queue:q2", "name:a-1"]
    words += ["error:timeout", "-error:timeout", "label.l:0", "label.l:1", "-label.l:2", "a", "b", "a-1", "-a-2"]
    words += ["age:<40s", "age:>10s", "age:<300s"]
    rows: dict[str, JobRow] = {}
    for step in range(60):
        changes: dict[str, JobRow | None] = {}
        for _ in range(12):
            name = f"{dice.choice('ab')}-{dice.randrange(40)}"
            made = row(
                name, created=NOW - sum(map(ord, name)) % 60, phase=dice.choice(list(Phase)),
                owner=owners[len(name) % 3], queue=dice.choice(queues),
                labels=tuple(f"l={n}" for n in range(3) if dice.random() < 0.4),
                errors=("timeout",) if dice.random() < 0.3 else (),
            )  # fmt: skip
            changes[made.id] = None if dice.random() < 0.2 else made
        await store.index.keep(changes, str(step))
        rows = {name: kept for name, kept in (rows | changes).items() if kept is not None}
        text = " ".join(dice.sample(words, dice.randrange(5)))
        wanted = [rows[name].name for name in sorted(rows, reverse=True) if matches(text, NOW)(rows[name])]
        assert await find(store, text, limit=dice.choice([1, 5, 500])) == wanted, text
        for owner in ("alice", None):
            counted = await store.index.counts(queues, owner)
            of = [r for r in rows.values() if owner is None or r.owner == owner]
            assert counted == {
                queue: {phase: sum((r.queue, r.phase) == (queue, phase) for r in of) for phase in Phase}
                for queue in queues
            }


async def test_a_call_looks_at_a_bounded_number_and_a_cursor_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    monkeypatch.setattr(index, "BUDGET", 100)
    monkeypatch.setattr(index, "CALLS", 1)
    rows = [row(f"j{n}", created=NOW - n, queue="ab"[n % 2], owner="cd"[n % 2]) for n in range(1000)]
    await put(store, *rows)
    query, pages = parse_query("queue:a owner:d"), 0
    page = Page([], "", 0)
    while page.cursor is not None:
        await redis.config_resetstat()
        page = await store.index.search(query, NOW, cursor=page.cursor or None)
        asked = await redis.info("commandstats")
        assert sum(asked[f"cmdstat_{name}"]["calls"] for name in ("zscore", "zrange")) <= 101
        assert page.rows == []
        pages += 1
    assert 5 <= pages <= 20
    assert {"cmdstat_scan", "cmdstat_keys", "cmdstat_zscan", "cmdstat_hscan", "cmdstat_hgetall"} & asked.keys() == set()


async def test_what_has_not_changed_is_not_written(store: Store, redis: Redis) -> None:
    await put(store, *MIXED)
    await redis.config_resetstat()
    await put(store, *MIXED)
    asked = await redis.info("commandstats")
    assert {"cmdstat_zadd", "cmdstat_hset", "cmdstat_hincrby"} & asked.keys() == set()


async def test_a_row_that_goes_leaves_nothing_and_one_that_moves_leaves_its_place(store: Store, redis: Redis) -> None:
    one = row("one", labels=("a=b",), errors=("timeout",), reason="X")
    await put(store, one)
    await put(store, msgspec.structs.replace(one, phase="Failed", labels=(), queue="other"))
    assert await redis.exists(index_set("phase", "Succeeded"), index_set("label", "a=b")) == 0
    assert await redis.hgetall(index_counts("alice")) == {b"other Failed": b"1"}
    await store.index.keep({one.id: None, "0" * 20: None}, "mark")
    assert await redis.keys("bj:index:*") == [INDEX.mark.encode()]


async def test_the_mark_tells_whether_somebody_or_something_came_between(store: Store, redis: Redis) -> None:
    assert await store.index.keep({}, "a:1") is None
    assert await store.index.keep({}, "a:2") == "a:1"
    assert await store.index.mark() == "a:2"
    await redis.script_flush()  # as after a restart, which may have lost more
    assert await store.index.keep({MIXED[0].id: MIXED[0]}, "a:3") is None
    await redis.script_flush()
    assert await find(store, "") == ["daily-1"]
    await redis.flushall()
    assert await store.index.mark() is None
    assert await find(store, "status:failed") == []


async def contents(redis: Redis) -> dict[Any, Any]:
    """What the keys of the index hold, but for the mark."""
    names = [INDEX.all, INDEX.names, *await redis.keys("bj:index:{jobs}:by:*")]
    sets = {name: await redis.zrange(name, 0, -1) for name in names}
    hashes = {name: await redis.hgetall(name) for name in (INDEX.rows, INDEX.counts, index_counts("alice"))}
    return hashes | sets


async def test_a_full_store_refuses_a_change_whole_and_is_searched(store: Store, redis: Redis) -> None:
    await put(store, *MIXED)
    before = await contents(redis)
    await redis.config_set("maxmemory", 1)
    try:
        for change in (msgspec.structs.replace(MIXED[0], phase="Failed"), None):
            with pytest.raises(StoreFull):
                await store.index.keep({MIXED[0].id: change}, "mark")
        assert await contents(redis) == before
        assert await find(store, "weekly") == ["weekly"]
    finally:
        await redis.config_set("maxmemory", 0)


async def test_rows_are_compared_page_by_page(store: Store) -> None:
    await put(store, *MIXED)
    first = await store.index.rows_after("", 3)
    rest = await store.index.rows_after(list(first)[-1], 3)
    assert [found and found.name for found in (first | rest).values()] == [
        "weekly", "daily-1", "daily-2", "daily-22", "daily",
    ]  # fmt: skip
    assert await store.index.rows_after(list(rest)[-1], 3) == {}


async def test_no_worker_can_read_or_write_the_index(workers: Workers) -> None:
    run = await workers.open(noop("n", inline(1))["spec"])
    await workers.store.index.keep({MIXED[0].id: MIXED[0]}, "mark")
    access = workers.access(run)
    async with Redis.from_url(access.url, username=access.username, password=access.password) as worker:
        for command in (
            ("HGETALL", INDEX.rows),
            ("ZRANGE", index_set("owner", "alice"), 0, -1),
            ("HSET", INDEX.rows, MIXED[0].id, "x"),
            ("ZADD", INDEX.all, 0, "x"),
        ):
            with pytest.raises(NoPermissionError):
                await worker.execute_command(*command)  # type: ignore[no-untyped-call]  # the client's
