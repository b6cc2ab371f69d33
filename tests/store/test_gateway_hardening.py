"""Samples of the proofs of the gateway (tests/prove/gateway), with fixed seeds."""

from pathlib import Path

import pytest

from tests.prove.gateway import bodies, schema
from tests.prove.gateway.wrong import MAKERS
from tests.support.redis_server import RedisServer


def test_every_answer_is_one_that_the_openapi_document_has(redis_server: RedisServer, tmp_path: Path) -> None:
    facts = schema.trial(redis_server.url, tmp_path, seed=1, examples=3, phases=("examples", "fuzzing", "stateful"))
    assert facts["requests_made_up"] > 100
    assert facts["most_links_followed"], "nothing was asked about what was made"


@pytest.mark.parametrize("staging", [False, True])
def test_bodies_that_are_wrong_are_refused_and_leave_nothing(
    redis_server: RedisServer, tmp_path: Path, staging: bool
) -> None:
    facts = bodies.trial(redis_server.url, tmp_path, count=250, seed=1, staging=staging)
    assert len(facts["kinds"]) == len(MAKERS)
