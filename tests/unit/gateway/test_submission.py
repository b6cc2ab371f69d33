"""From a body to a BatchJob, as far as it is pure: JSON that means one thing, items, names, and where faults point."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as some

from batchjob.errors import Invalid
from batchjob.gateway.annotator import build_body, read_form
from batchjob.gateway.bodies import parse_object
from batchjob.gateway.problems import Problem
from batchjob.gateway.submission import build_submission, name_for, refused
from batchjob.gateway.views import etag, is_known, job_id, read_job_id
from batchjob.kube.answers import build_error

NOOP: Final[dict[str, Any]] = {"type": "custom", "custom": {"processor": "noop"}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"a": 1, "a": 2}', 400),
        (b'{"a": {"b": 1, "b": 1}}', 400),
        (b'{"a": NaN}', 400),
        (b'{"a": -Infinity}', 400),
        (b'{"a": 1e999}', 400),
        (b'{"a": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400),
        (b'{"a": ' + b"1" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"x"', 422),
    ],
    ids=lambda value: str(value)[:24],
)
def test_json_that_can_be_read_in_two_ways_is_not_read(body: bytes, code: int) -> None:
    with pytest.raises(Problem) as refusal:
        parse_object(body)
    assert refusal.value.slug.status == code


def test_brackets_in_texts_are_no_depth() -> None:
    text = '\\"' + "[{" * 500 + "\\\\"
    assert parse_object(json.dumps({"a": text, "b": [[1]]}).encode()) == {"a": text, "b": [[1]]}


json_values: Final = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**60), 2**60)
    | some.text(some.characters(codec="utf-8"), max_size=9),
    lambda children: some.lists(children, max_size=3) | some.dictionaries(some.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


@given(some.dictionaries(some.text(some.characters(codec="utf-8"), max_size=5), json_values, max_size=4))
def test_what_is_read_is_what_was_sent(document: dict[str, Any]) -> None:
    try:
        body = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_object(body) == document


@given(some.dictionaries(some.text(some.characters(codec="utf-8"), max_size=5), json_values, min_size=1, max_size=4))
def test_an_items_data_survives_however_it_is_nested(data: dict[str, Any]) -> None:
    try:
        built = build_submission({**NOOP, "items": [{"id": "1", "data": data}]}, "alice", "team", "n")
    except (Problem, UnicodeEncodeError):
        return
    [item] = built.manifest["spec"]["source"]["items"]
    assert item.get("data", json.loads(item.get("json", "null"))) == data


def test_a_key_gives_a_name_that_is_its_users_and_namespaces_own() -> None:
    places = [("alice", "a", "k"), ("alice", "b", "k"), ("bob", "a", "k"), ("alice", "a", "l"), ("alic", "ea", "k")]
    names = {name_for(*place) for place in places}
    assert len(names) == len(places)
    assert all(len(name) <= 52 and name.replace("-", "").isalnum() for name in names)
    assert name_for("alice", "a", "k") == name_for("alice", "a", "k")


def test_two_bodies_that_mean_the_same_have_one_digest() -> None:
    first = build_submission({**NOOP, "priority": 1}, "alice", "team", "x")
    again = build_submission(dict(reversed({**NOOP, "priority": 1}.items())), "alice", "team", "y")
    other = build_submission({**NOOP, "priority": 2}, "alice", "team", "x")
    assert first.digest == again.digest != other.digest


def test_who_asks_is_the_owner_and_the_object_goes_by_itself() -> None:
    built = build_submission({**NOOP, "retention": {"failedSeconds": 5}}, "alice", "team", "x")
    assert built.manifest["spec"]["owner"] == "alice"
    assert built.manifest["spec"]["ttlSecondsAfterFinished"] == 5
    kept = build_submission({**NOOP, "ttlSecondsAfterFinished": 0}, "alice", "team", "x")
    assert kept.manifest["spec"]["ttlSecondsAfterFinished"] == 0


def test_what_the_api_server_refuses_points_into_the_body() -> None:
    causes = (("spec.source.items[0].data[a/b]", "x"), ("spec.custom", "y"), ("metadata.name", "z"))
    body: dict[str, Any] = {"items": [], "custom": {}}
    found = refused(Invalid("all of it", causes=causes), body).faults
    assert [fault.where for fault in found] == ["/items/0/data/a~1b", "/custom", "/name"]
    assert refused(Invalid("all of it"), body).detail == "all of it"


def test_unknown_fields_are_read_from_the_words_of_the_api_server() -> None:
    message = 'BatchJob cannot be handled: strict decoding error: unknown field "spec.a", unknown field "spec.b.c"'
    error = build_error(400, json.dumps({"message": message}), "POST", None)
    assert isinstance(error, Invalid)
    assert [field for field, _ in error.causes] == ["spec.a", "spec.b.c"]
    for text in ("", "[]", "null", '{"message": 1, "details": {"causes": [{}]}}', '{"details": 3, "message": "x"}'):
        odd = build_error(422, text, "POST", None)
        assert isinstance(odd, Invalid)
        assert odd.causes == ()


def test_an_id_is_a_namespace_and_a_name() -> None:
    assert read_job_id(job_id("team", "a-1")) == ("team", "a-1")
    for nonsense in ("", ".", "a", "a.", ".b", "a.b.c", "a/b.c", "a.b\n", "A.b", "a.-b", "x" * 64 + ".b"):
        with pytest.raises(Problem):
            read_job_id(nonsense)


def test_an_etag_is_known_again_in_each_of_its_forms() -> None:
    tag = etag({"a": 1})
    assert tag != etag({"a": 2})
    assert [is_known(given, tag) for given in (tag, f"W/{tag}", f'"x", {tag}', "*")] == [True] * 4
    assert [is_known(given, tag) for given in (None, "", '"x"', tag.strip('"'))] == [False] * 4


def test_the_earlier_clients_items_get_ids_and_texts_a_field() -> None:
    built = build_body({"items": ["good", {"text": "bad"}, {"id": 7, "text": "x"}], "options": {"priority": 2}}, {})
    assert built["items"] == [
        {"id": "0", "data": {"text": "good"}},
        {"id": "1", "data": {"text": "bad"}},
        {"id": "7", "data": {"id": 7, "text": "x"}},
    ]
    assert (built["type"], built["priority"]) == ("ai-batch", 2)


def test_options_win_over_the_file_of_the_installation() -> None:
    template = {"aiBatch": {"instructions": "a", "model": {"name": "m"}}, "concurrency": 2}
    built = build_body({"items": ["x"], "options": {"instructions": "b"}}, template)
    assert built["aiBatch"] == {"instructions": "b", "model": {"name": "m"}}
    assert built["concurrency"] == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/items"),
        ({"items": []}, "/items"),
        ({"items": [1]}, "/items/0"),
        ({"items": ["x"], "options": []}, "/options"),
        ({"items": ["x"], "options": {"owner": "bob"}}, "/options/owner"),
        ({"items": ["x"], "user/Id": "bob"}, "/user~1Id"),
        (
            {"items": ["x"], "formSchema": {"properties": {"a": {"type": "object"}}}},
            "/formSchema/properties/a",
        ),
    ],
    ids=str,
)
def test_what_the_earlier_client_says_wrong_is_pointed_at(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Problem) as refusal:
        build_body(body, {})
    assert [fault.where for fault in refusal.value.faults] == [pointer]


def test_a_flat_json_schema_is_a_form() -> None:
    schema = {
        "properties": {
            "a": {"type": "string", "enum": ["x"]},
            "b": {"type": "integer", "minimum": 1},
            "c": {"type": "array"},
        },
        "required": ["a"],
    }
    assert read_form(schema)["fields"] == [
        {"name": "a", "type": "enum", "required": True, "enum": ["x"]},
        {"name": "b", "type": "integer", "required": False, "minimum": 1},
        {"name": "c", "type": "list", "required": False},
    ]
    assert read_form({"fields": [1]}) == {"fields": [1]}
    assert read_form({"properties": {"a": {"enum": ["x", "y"]}}}) == {
        "fields": [{"name": "a", "type": "enum", "required": False, "enum": ["x", "y"]}]
    }
