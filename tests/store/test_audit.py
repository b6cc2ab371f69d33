"""The audit trail in the store: capped by number and by age, and read from the newest on by what is looked for."""

import msgspec
import pytest

from batchjob.api.run import StoreAccess
from batchjob.errors import CursorError
from batchjob.store import AuditEntry, AuditFilter, Store, audit, keys
from batchjob.store.audit import KEPT_MS, AuditTrail
from batchjob.store.connection import Connection

ANY = AuditFilter()


def entry(number: int, user: str = "alice", verb: str = "cancel") -> AuditEntry:
    return AuditEntry(verb=verb, outcome="done", user=user, kind="BatchJob", object=f"team.run-{number}", code=202)


async def test_what_was_kept_is_read_from_the_newest_on_page_by_page(store: Store) -> None:
    for number in range(7):
        await store.audit.put(entry(number), entry(number, "bob", "suspend"))
    found, cursor = [], None
    while True:
        page = await store.audit.read(ANY, limit=4, cursor=cursor)
        found += [(one.user, one.object) for one in page.entries]
        if (cursor := page.cursor) is None:
            break
    assert found == [(user, f"team.run-{number}") for number in reversed(range(7)) for user in ("bob", "alice")]
    only = await store.audit.read(AuditFilter("bob", "suspend", "run-3", "done"), limit=4)
    assert [msgspec.structs.replace(one, id="") for one in only.entries] == [entry(3, "bob", "suspend")]
    assert (await store.audit.read(AuditFilter(outcome="refused"), limit=4)).entries == []


async def test_strangers_push_nobody_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "STRANGERS_KEPT", 100)
    await store.audit.put(entry(1))
    await store.audit.put(*(entry(number, "") for number in range(500)))
    assert [one.user for one in (await store.audit.read(ANY, limit=50)).entries] == ["alice"]
    kept = await store._connection.command("XLEN", keys.audit_key(signed_in=False))
    assert 100 <= kept < 300, "about"
    assert len((await store.audit.read(ANY, limit=50, signed_in=False)).entries) == 50


async def test_it_is_capped_by_number_and_by_age(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ENTRIES_KEPT", 200)
    await store.audit.put(*(entry(number) for number in range(1000)))
    key = keys.audit_key(signed_in=True)
    assert 200 <= await store._connection.command("XLEN", key) < 400
    assert 0 < await store._connection.command("PTTL", key) <= KEPT_MS
    now = float((await store._connection.command("TIME"))[0])
    later = AuditTrail(store._connection, lambda: now + KEPT_MS / 1000 + 60)
    await later.put(entry(1))
    assert await store._connection.command("XLEN", key) < 100, "the node with the last ones is still there"


async def test_a_long_search_ends_with_where_to_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 10)
    monkeypatch.setattr(audit, "LOOKS", 50)
    await store.audit.put(entry(0, "bob"), *(entry(number) for number in range(99)))
    cursor, pages = None, 0
    while not (page := await store.audit.read(AuditFilter("bob"), limit=5, cursor=cursor)).entries:
        assert page.cursor is not None
        cursor, pages = page.cursor, pages + 1
    assert (pages, page.entries[0].object) == (1, "team.run-0")


@pytest.mark.parametrize(
    "cursor", ["x", "1", "1-", "-1", "1-1-1", "(1-1", "+", "9" * 50 + "-1", "9" * 20 + "-0", "1-" + str(2**64), "0-0"]
)
async def test_a_cursor_that_is_none_is_said_to_be(cursor: str) -> None:
    trail = AuditTrail(Connection(StoreAccess(url="unix:///nowhere"), "test"))
    with pytest.raises(CursorError):
        await trail.read(ANY, limit=5, cursor=cursor)


async def test_long_texts_are_cut(store: Store) -> None:
    await store.audit.put(entry(1, "u" * 5000))
    [found] = (await store.audit.read(ANY, limit=5)).entries
    assert len(found.user) == 512
