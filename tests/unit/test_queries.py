"""The query language: what it means, that its text is one, and that its errors name the place and the way out."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import ErrorClass, Phase
from batchjob.api.v1alpha1 import JobType
from batchjob.core.queries import MOST_CHARACTERS, MOST_TERMS, QUALIFIERS, Term, build_query, parse_query
from batchjob.core.reasons import Reason
from batchjob.errors import QueryError
from tests.unit.test_house import table, text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("", ""),
        ("  \t\n ", ""),
        ("type:Export status:FAILED", "status:failed type:export"),
        ("status:failed status:failed", "status:failed"),
        ("monthly", "monthly"),
        ('"Monthly" -weekly', "monthly -weekly"),
        ("name:monthly-2026.01", "name:monthly-2026.01"),
        ("owner:alice@example.com", "owner:alice@example.com"),
        ('owner:"Alice B." -owner:bob', 'owner:"Alice B." -owner:bob'),
        (r'owner:"a \"b\" \\ c"', r'owner:"a \"b\" \\ c"'),
        (r"owner:corp\alice", r"owner:corp\alice"),
        (r'owner:"corp\alice"', r"owner:corp\alice"),
        ("owner:https://issuer#alice", "owner:https://issuer#alice"),
        ("age:<24h age:>60s", "age:<1d age:>1m"),
        ("age:<0s", "age:<0w"),
        ("label.team:search", "label.team:search"),
        ('label.app.kubernetes.io/name:x label.done:""', 'label.app.kubernetes.io/name:x label.done:""'),
        ("reason:workersfailed", "reason:WorkersFailed"),
        ("error:timeout error:0123456789ab", "error:0123456789ab error:timeout"),
        ("queue:q namespace:team", "namespace:team queue:q"),
    ],
)
def test_a_query_has_one_text_however_it_was_written(written: str, canonical: str) -> None:
    assert str(parse_query(written)) == canonical
    assert parse_query(canonical) == parse_query(written)


@pytest.mark.parametrize(
    ("written", "offset", "words"),
    [
        ("colour:red", 0, "no qualifier colour. There are type, status"),
        ("type:export -kind:x", 13, "no qualifier kind"),
        (":x", 0, "No qualifier stands before the colon. There are type"),
        ("status:faild", 7, "Status faild does not exist. There are pending"),
        ("type:pdf", 5, "There are ai-batch, export"),
        ("error:Timeout", 6, "neither the fingerprint of an error nor a class. There are timeout"),
        ("reason:Because", 7, "There are Loading"),
        ("owner:", 6, "A value is missing"),
        ("owner: alice", 6, "right after the qualifier"),
        ('owner:""', 6, "1 to 253 characters"),
        ("-", 1, "A value is missing"),
        ('owner:"alice', 6, "not closed"),
        ('owner:"alice"x', 13, "Something follows the closing"),
        ('owner:al"ice', 8, "within a value"),
        ("age:1d", 4, "Write < or >"),
        ("age:<1y", 4, "age:<1d is younger than a day"),
        ("age:<9999999999w", 4, "is no age"),
        ("-age:<1d", 0, "Turn its < or > round"),
        ("label.:x", 0, "label.KEY:VALUE"),
        ("label.team=x", 0, "begins no name"),
        ("label.a/b/c:x", 0, "names no label"),
        ('label.a:"b c"', 8, "no value of a label"),
        ("ok month_ly", 3, "needs its qualifier"),
        ('"a:b"', 0, "begins no name"),
        ("queue:UPPER", 6, "is no queue"),
        ("name:-x", 5, "is no name of a BatchJob"),
        ("x " * MOST_TERMS + "y", 2 * MOST_TERMS, "more than 32 terms"),
        ("x" * (MOST_CHARACTERS + 1), MOST_CHARACTERS, "may have 2048"),
    ],
)
def test_an_error_names_the_place_and_what_would_be_right(written: str, offset: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(written)
    assert words in str(caught.value)
    assert caught.value.offset == offset
    assert len(str(caught.value)) < MOST_CHARACTERS + 500


def test_a_qualifier_that_is_repeated_gives_a_choice_and_ages_a_range() -> None:
    query = parse_query("status:failed status:cancelled -type:email age:<1d age:<2h age:>5m age:>1m foo bar")
    assert query.groups() == {
        ("status", False): ["cancelled", "failed"],
        ("type", True): ["email"],
        ("word", False): ["bar", "foo"],
    }
    assert query.ages() == (300, 7200)
    assert parse_query("").ages() == (None, None)


def test_every_qualifier_is_explained_and_every_example_is_a_query() -> None:
    rows = table(text("docs", "reference", "search.md"), "## Qualifiers")
    assert [row[0].partition(":")[0] for row in rows] == [*QUALIFIERS, "label.KEY"]
    for _, _, examples in rows:
        for example in re.split(r"`?, `", examples):
            assert str(parse_query(example)), example


NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "type": st.sampled_from(JobType),
    "status": st.sampled_from([phase.lower() for phase in Phase]),
    "reason": st.sampled_from(Reason),
    "error": st.sampled_from(ErrorClass) | st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    "owner": st.text(min_size=1, max_size=40),
    "queue": NAMES,
    "namespace": NAMES,
    "name": NAMES,
    "word": st.from_regex(r"[a-z0-9][-a-z0-9.]{0,20}", fullmatch=True),
    "label.app.io/Team_1": st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?)?", fullmatch=True),
}
TERMS = st.one_of(
    *(st.builds(Term, st.just(field), value.map(str), st.booleans()) for field, value in VALUES.items()),
    st.builds(lambda way, weeks: Term("age", f"{way}{weeks}w"), st.sampled_from("<>"), st.integers(0, 5000)),
)


@given(st.lists(TERMS, max_size=12))
def test_the_text_of_a_query_is_read_as_that_query(terms: list[Any]) -> None:
    query = build_query(terms)
    assert parse_query(str(query)) == query


@given(st.text(max_size=60) | st.text(alphabet='-:"\\ <1dabelow.tyn', max_size=60))
def test_whatever_is_written_is_a_query_or_an_error_with_a_place(written: str) -> None:
    query, offset = build_query(()), 0
    try:
        query = parse_query(written)
    except QueryError as error:
        offset = error.offset
    assert 0 <= offset <= len(written)
    assert parse_query(str(query)) == query
