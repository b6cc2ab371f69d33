"""The store under a random walk of claims, commits, losses and endings; and bugs, seeded to see the walk find them."""

from hashlib import sha1

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from batchjob.store import scripts
from tests.support.redis_server import RedisServer
from tests.support.store_machine import StoreMachine

SAMPLE = settings(
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes here: add Phase.shrink for a shorter story of a failure
    deadline=None,
    max_examples=80,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),  # each step is a few round trips, and meant to be
)


@pytest.fixture
def machine(redis_server: RedisServer) -> type[StoreMachine]:
    return type("Machine", (StoreMachine,), {"url": redis_server.url})


def test_items_conserve_and_ends_are_final_whatever_happens(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(machine, settings=SAMPLE)


BUGS = {
    "no fencing": ("not chunk or chunk.fence ~= c[2]", "not chunk"),
    "a commit counts each time it is sent": ("c[3] > chunk.number", "true"),
    "an outcome counts again": ("or chunk.done[position] then", "then"),
    "finished items come back with a lost chunk": ("if not chunk.done[position] then", "if true then"),
    "a loss spends two lives": ("chunk.losses + 1", "chunk.losses + 2"),
    "a lease is left behind": ("  redis.call('ZREM', KEY.lease, chunk.id)\n", ""),
    "a due item stays in the retries": ("    redis.call('ZREM', KEY.retry, id)\n", ""),
    "suspects have company": ("if first == last and is_suspect(run, first) then", "if false then"),
    "the pause is ignored": ("or run.paused or", "or"),
    "packed items are never dropped": ("\ndrop_finished_fields()\n", "\n"),
}


@pytest.mark.parametrize(("right", "wrong"), BUGS.values(), ids=BUGS)
def test_the_walk_finds_a_seeded_bug(
    machine: type[StoreMachine], monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    source = scripts.EXCHANGE.source
    assert source.count(right) == 1
    broken = source.replace(right, wrong)
    digest = sha1(broken.encode(), usedforsecurity=False).hexdigest()
    script = scripts.Script("exchange", broken, digest)
    monkeypatch.setattr(scripts, "EXCHANGE", script)
    monkeypatch.setattr(scripts, "ALL", (*scripts.ALL, script))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=settings(SAMPLE, max_examples=400))
