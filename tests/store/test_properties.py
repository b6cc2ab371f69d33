"""The store under a random walk of claims, commits, losses and endings; and bugs, seeded to see the walk find them."""

from hashlib import sha1

import pytest

from batchjob.store import scripts
from tests.prove.engine import walks
from tests.support.redis_server import RedisServer


def test_items_conserve_and_ends_are_final_whatever_happens(redis_server: RedisServer) -> None:
    facts = walks.trial(redis_server.url, runs=80, number=1)
    assert facts["steps"] > 1000


IN_EXCHANGE = {
    "no fencing": ("not chunk or chunk.fence ~= c[2]", "not chunk"),
    "a commit counts each time it is sent": ("c[3] > chunk.number", "true"),
    "an outcome counts again": ("or chunk.done[position] then", "then"),
    "an item that goes back stays in its chunk too": (
        "if leave(chunk, position) then\n        extend",
        "if not chunk.done[position] then\n        extend",
    ),
    "finished items come back with a lost chunk": ("if not chunk.done[position] then", "if true then"),
    "a loss spends two lives": ("chunk.losses + 1", "chunk.losses + 2"),
    "a lease is left behind": ("  redis.call('ZREM', KEY.lease, chunk.id)\n", ""),
    "what was told of a lost chunk stays": ("  partial_change = partial_change - chunk.partial\n", ""),
    "a due item stays in the retries": ("    redis.call('ZREM', KEY.retry, id)\n", ""),
    "suspects have company": ("if first == last and is_suspect(run, first) then", "if false then"),
    "the pause is ignored": ("run.claimable and not run.paused and", "run.claimable and"),
    "failures are not watched": ("  watch(run)\n", ""),
    "a trip lets the same call grant": ("    run.paused = true\n", ""),
    "packed items are never dropped": ("\ndrop_finished_fields()\n", "\n"),
    "results are not announced to the sealer": (
        "    if run.destination then\n      redis.call",
        "    if false then\n      redis.call",
    ),
    "bytes of results are not counted": ("'result_bytes', result_bytes)", "'result_bytes', 0)"),
}
ELSEWHERE = {
    "an old token seals": ("SEAL_PART", "check_duty('seal', ARGV[1])\n", ""),
    "a part that is recorded twice drops twice": (
        "SEAL_PART",
        "if redis.call('HGET', KEY.sealed, ARGV[2]) then",
        "if false then",
    ),
    "sealed results stay": ("SEAL_PART", "if #batch > 0 then", "if false then"),
    "items that are sent again are there twice": ("LOAD_PUT", "if first >= loaded then", "if true then"),
    "a loader that takes over discards what is done": ("DUTY_CLAIM", "and not run.claimable then", "then"),
}
BUGS = {name: ("EXCHANGE", *change) for name, change in IN_EXCHANGE.items()} | ELSEWHERE


@pytest.mark.parametrize(("script", "right", "wrong"), BUGS.values(), ids=BUGS)
def test_the_walk_finds_a_seeded_bug(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, script: str, right: str, wrong: str
) -> None:
    source = getattr(scripts, script).source
    assert source.count(right) == 1
    broken = source.replace(right, wrong)
    digest = sha1(broken.encode(), usedforsecurity=False).hexdigest()
    found = scripts.Script(script, broken, digest)
    monkeypatch.setattr(scripts, script, found)
    monkeypatch.setattr(scripts, "ALL", (*scripts.ALL, found))
    with pytest.raises(AssertionError):
        # It ends with the first that is found, most often below a hundred: the others are for whoever is unlucky.
        walks.trial(redis_server.url, runs=1200, number=1)
