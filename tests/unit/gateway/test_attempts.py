"""How often tokens may be refused: by address and in all, and whom that does not touch."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from batchjob.errors import StoreUnavailable
from batchjob.gateway.addresses import client_address, counted_as
from batchjob.gateway.attempts import AT_ONCE, KNOWN_SECONDS, Attempts
from batchjob.gateway.identity import Identity, Unauthenticated
from batchjob.gateway.problems import Problem


class Desk:
    """What looks at tokens, and how often it did; the store that counts."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looked: list[str | None] = []
        self.good = {"right"}
        self.counts: dict[str, int] = {}
        self.is_away = False
        self.at_once = self.most_at_once = 0

    async def ask(self, authorization: str | None) -> Identity:
        self.looked.append(authorization)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if authorization not in self.good:
            raise Unauthenticated("no")
        return Identity("alice")

    async def count(self, name: str, seconds: int) -> tuple[int, float]:
        if self.is_away:
            raise StoreUnavailable("away")
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name], float(seconds)

    def attempts(self, each: int = 3, in_all: int = 100) -> Attempts:
        return Attempts(self.count, each, in_all, lambda: self.now)


class Asked(Unauthenticated):
    is_guess = False


async def test_who_is_sent_back_by_the_issuer_has_guessed_nothing() -> None:
    desk = Desk()
    attempts = desk.attempts(each=1)

    async def sent_back(_: str | None) -> Identity:
        raise Asked("the issuer says login_required")

    for _ in range(5):
        with pytest.raises(Asked):
            await attempts.identify(sent_back, "code", "192.0.2.1")
    assert desk.counts == {}
    assert await tried(attempts, desk, "right") == "alice"


async def tried(attempts: Attempts, desk: Desk, token: str | None, address: str = "192.0.2.1") -> str:
    try:
        return (await attempts.identify(desk.ask, token, address)).name
    except Unauthenticated:
        return "401"
    except Problem as problem:
        return str(problem.slug.status) if int(problem.headers["Retry-After"]) > 0 else "no Retry-After"


async def test_past_the_limit_not_even_the_right_token_is_looked_at() -> None:
    desk = Desk()
    attempts = desk.attempts()
    assert [await tried(attempts, desk, f"x{n}") for n in range(4)] == ["401"] * 3 + ["429"]
    looked = len(desk.looked)
    assert await tried(attempts, desk, "right") == "429"
    assert len(desk.looked) == looked
    assert await tried(attempts, desk, "right", "192.0.2.2") == "alice", "another address is another matter"
    desk.now += 61
    desk.counts.clear()
    assert await tried(attempts, desk, "right") == "alice"


async def test_who_signed_in_lately_is_let_through_and_nobody_else() -> None:
    desk = Desk()
    attempts = desk.attempts()
    assert await tried(attempts, desk, "right") == "alice"
    for number in range(3):
        await tried(attempts, desk, f"x{number}")
    assert [await tried(attempts, desk, one) for one in ("right", "other")] == ["alice", "429"]
    desk.good.clear()
    assert [await tried(attempts, desk, "right") for _ in range(2)] == ["401", "429"], "withdrawn: as any other"
    desk.good.add("late")
    desk.now += KNOWN_SECONDS + 61
    assert await tried(attempts, desk, "late", "192.0.2.9") == "alice"


async def test_all_addresses_together_have_a_limit_too() -> None:
    desk = Desk()
    attempts = desk.attempts(each=100, in_all=5)
    found = [await tried(attempts, desk, f"x{number}", f"198.51.100.{number}") for number in range(7)]
    assert found == ["401"] * 5 + ["429"] * 2


async def test_no_token_at_all_is_no_attempt() -> None:
    desk = Desk()
    attempts = desk.attempts()
    assert [await tried(attempts, desk, None) for _ in range(9)] == ["401"] * 9
    assert desk.counts == {}


async def test_many_at_once_are_not_all_looked_at_before_the_first_is_counted() -> None:
    desk = Desk()
    attempts = desk.attempts()
    found = await asyncio.gather(*(tried(attempts, desk, f"x{number}") for number in range(200)))
    assert desk.most_at_once <= AT_ONCE
    assert len(desk.looked) <= 3 + AT_ONCE
    assert found.count("429") >= 200 - 3 - AT_ONCE


async def test_without_the_store_this_process_counts_by_itself() -> None:
    desk = Desk()
    desk.is_away = True
    attempts = desk.attempts()
    assert [await tried(attempts, desk, f"x{number}") for number in range(4)] == ["401"] * 3 + ["429"]
    desk.now += 61
    assert [await tried(attempts, desk, f"y{number}") for number in range(4)] == ["401"] * 3 + ["429"]


def connection(peer: str | None, *forwarded: str) -> HTTPConnection:
    scope: dict[str, Any] = {"type": "http", "headers": [(b"x-forwarded-for", one.encode()) for one in forwarded]}
    return HTTPConnection(scope | {"client": (peer, 1) if peer else None})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", ["1.1.1.1"], "203.0.113.5"),  # anybody may send the header
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),  # what stands in front may be made up
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::5"], "2001:db8::5"),
        (None, ["1.1.1.1"], ""),
    ],
)
def test_an_address_is_believed_of_trusted_proxies_alone(peer: str, forwarded: list[str], expected: str) -> None:
    assert client_address(connection(peer, *forwarded), [ip_network("10.0.0.0/8")]) == expected


def test_one_customer_is_one_source() -> None:
    assert counted_as("2001:db8:1:2:aaaa::1") == counted_as("2001:db8:1:2:bbbb::2") == "2001:db8:1:2::/64"
    assert counted_as("192.0.2.1") == "192.0.2.1"
    assert counted_as("testclient") == "testclient"
