"""The rows of the index: their names sort by time, and errors that are the same have one fingerprint."""

import pytest

from batchjob.core.rows import ROW_ID_BYTES, fingerprint, row_id


def test_the_names_of_rows_sort_by_time_and_tell_apart_those_of_a_second() -> None:
    ids = [row_id(second, uid) for second in (0, 9, 1_800_000_000) for uid in ("a", "b")]
    assert [row[:8] for row in sorted(ids)] == ["00000000"] * 2 + ["00000009"] * 2 + ["6b49d200"] * 2
    assert len(set(ids)) == 6
    assert {len(row) for row in ids} == {2 * ROW_ID_BYTES}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("item 17 is missing", "item 4711 is missing"),
        ("no answer from 10.0.0.1:5432 in 30s", "no answer from 10.0.0.2:5432 in 31s"),
        ("key 'alice' is unknown", "key 'bob' is unknown"),
        ('request "f3a" failed', 'request "b" failed'),
        ("id='a1' is unknown", "id='b' is unknown"),
    ],
)
def test_errors_that_differ_in_numbers_and_names_alone_have_one_fingerprint(one: str, other: str) -> None:
    assert fingerprint("upstream", one) == fingerprint("upstream", other)
    assert fingerprint("timeout", one) != fingerprint("upstream", one)


def test_errors_of_other_words_have_other_fingerprints() -> None:
    assert fingerprint("upstream", "connection refused") != fingerprint("upstream", "connection reset")
