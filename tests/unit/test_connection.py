"""What an answer of Redis means, in the words that people read."""

import hiredis
import pytest

from batchjob.errors import RunGone, StoreError, StoreFull, StoreNotReady, StoreUnavailable
from batchjob.store.connection import translate

PLACE = " script: 5379fe03a1, on @user_script:155."


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            f"OOM command not allowed when used memory > 'maxmemory'.{PLACE}",
            StoreFull("the store is full: OOM command not allowed when used memory > 'maxmemory'"),
        ),
        (
            "NOAUTH Authentication required.",
            StoreNotReady("the store has not been prepared for this user: NOAUTH Authentication required"),
        ),
        (
            f"NOPERM ACL failure in script: User bj-7 has no permissions to run the 'get' command{PLACE}",
            StoreNotReady(
                "the store has not been prepared for this user: NOPERM ACL failure in script: "
                "User bj-7 has no permissions to run the 'get' command"
            ),
        ),
        (f"RUNGONE the store does not know this run{PLACE}", RunGone("the store does not know this run")),
        ("BUSY Redis is busy.", StoreUnavailable("the store does not answer: BUSY Redis is busy")),
        (
            "NOREPLICAS Not enough good replicas to write.",
            StoreUnavailable("the store does not answer: NOREPLICAS Not enough good replicas to write"),
        ),
        (f"ERR a mistake of ours.{PLACE}", StoreError(f"the store refused: ERR a mistake of ours.{PLACE}")),
    ],
)
def test_an_error_of_redis_is_a_part_of_a_sentence_and_names_no_place_in_a_script(said: str, error: Exception) -> None:
    found = translate(hiredis.ReplyError(said))
    assert (type(found), str(found)) == (type(error), str(error))
