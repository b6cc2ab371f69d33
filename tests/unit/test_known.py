"""What the operator knows of BatchJobs, and how it finds out that it was wrong."""

import json
from typing import Any

import pytest

from batchjob.controller.known import KnownBatchJobs

A = ("team", "a")


def body(name: str = "a", version: int = 5, uid: str = "u1", generation: int = 1, **fields: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"metadata": metadata, "spec": {}} | fields


def ended(**fields: Any) -> dict[str, Any]:
    status = {"phase": "Succeeded", "observedGeneration": 1, "conditions": [{"type": "Complete", "status": "True"}]}
    return body(status=status, **fields)


def child(name: str, version: int = 6, read: str = "a", way: str = "resultsOf") -> dict[str, Any]:
    found = body(name, version, uid=f"u-{name}")
    found["spec"] = {"source": {way: {"batchJobName": read}}}
    return found


def test_an_older_picture_does_not_replace_a_newer_one() -> None:
    known = KnownBatchJobs()
    assert known.seen(body(version=10)) == {A}
    assert known.seen(body(version=9)) == set()
    entry = known.get(A)
    assert entry
    assert entry.version == 10


def test_what_a_write_of_ours_returned_is_no_news_when_the_watch_tells_of_it() -> None:
    known = KnownBatchJobs()
    known.seen(body(version=9))
    assert known.seen(body(version=10)) == {A}, "what the write returned"
    assert known.seen(body(version=10)) == set(), "the same from the watch"


def test_late_news_of_a_deleted_namesake_does_not_replace_the_new_one() -> None:
    known = KnownBatchJobs()
    known.seen(body(version=10, uid="new"))
    assert known.seen(body(version=9, uid="old")) == set()
    assert known.key_of("new") == A
    assert known.gone(A) == set()


def test_an_answer_that_comes_after_the_end_of_an_object_does_not_bring_it_back() -> None:
    rows: list[str] = []
    known = KnownBatchJobs(moved=lambda row: rows.append(row.uid))
    known.seen(body(version=5))
    known.deleted("team", "a", "u1")
    known.tidied(A, "u1")
    assert known.seen(body(version=6)) == set(), "what a write returned, while the watch told that it went"
    assert (known.get(A), known.key_of("u1"), rows) == (None, None, ["u1", "u1"])
    assert known.seen(body(version=7, uid="u2")) == {A}, "its namesake is another one"


@pytest.mark.parametrize(
    ("phase", "needs"),
    [("Running", True), ("Finalizing", True), ("Suspended", False), ("Queued", False), ("Failed", False)],
)
def test_only_a_run_that_works_needs_its_user_now(phase: str, needs: bool) -> None:
    known = KnownBatchJobs()
    known.seen(body(status={"phase": phase, "storeEpoch": "e"}))
    entry = known.get(A)
    assert entry
    assert (entry.needs_user, entry.is_under_way) == (needs, phase != "Failed")


def test_an_ended_batch_job_keeps_the_place_of_its_results_for_those_that_read_them() -> None:
    known = KnownBatchJobs()
    place = {"url": "s3://b/out"}
    known.seen(ended(version=7, spec={"results": {"destination": place}}))
    entry = known.get(A)
    assert entry
    assert (entry.body, entry.destination) == (None, place)


def test_an_ended_batch_job_keeps_no_body_until_its_spec_is_edited() -> None:
    known = KnownBatchJobs()
    known.seen(ended(version=7))
    entry = known.get(A)
    assert entry
    assert (entry.ended, entry.complete, entry.body) == (True, True, None)
    known.seen(ended(version=8, generation=2))
    entry = known.get(A)
    assert entry
    assert entry.body is not None


def test_items_and_what_others_wrote_into_the_metadata_are_not_kept() -> None:
    known = KnownBatchJobs()
    items = [{"id": "a", "data": {"n": 1}}, {"id": "b", "json": '{"text":"\u00fc"}'}]
    found = body(spec={"type": "custom", "custom": {"processor": "noop"}, "source": {"items": items, "idField": "x"}})
    ours = {"batchjob.dev/in-turn": "true"}
    found["metadata"] |= {"managedFields": [{}], "annotations": {"kubectl.kubernetes.io/last-applied": "{}", **ours}}
    known.seen(found)
    entry = known.get(A)
    assert entry
    assert entry.inline == (2, len(json.dumps(items, separators=(",", ":"))))
    assert entry.body
    assert entry.body["metadata"].keys() == {*body()["metadata"], "annotations"}
    assert entry.body["metadata"]["annotations"] == ours
    assert entry.parse().spec.source.to_json() == {"idField": "x", "onBadItem": "fail"}
    known.seen(entry.body | {"metadata": entry.body["metadata"] | {"resourceVersion": "6"}})
    again = known.get(A)
    assert again
    assert again.inline == entry.inline, "it was lightened before"


def test_a_name_used_again_leaves_the_old_uid_to_tidy_up() -> None:
    known = KnownBatchJobs()
    known.seen(body())
    known.seen(body(version=9, uid="u2"))
    assert known.gone(A) == {"u1"}
    assert known.key_of("u1") is None
    assert known.key_of("u2") == A
    assert known.deleted("team", "a", "u1") == set(), "news of the old one"
    assert known.deleted("team", "a", "u2") == {A}
    assert known.gone(A) == {"u1", "u2"}
    known.tidied(A, "u1")
    known.tidied(A, "u2")
    assert known.gone(A) == set()


@pytest.mark.parametrize("way", ["resultsOf", "redriveOf"])
def test_readers_are_looked_at_when_the_read_one_ends_or_goes_but_not_at_its_progress(way: str) -> None:
    known = KnownBatchJobs()
    known.seen(child("b", way=way))
    assert known.seen(body()) == {A, ("team", "b")}, "it appears"
    assert known.seen(body(version=6)) == {A}, "it moves"
    assert known.seen(ended(version=7)) == {A, ("team", "b")}, "it ends"
    assert known.deleted("team", "a", "u1") == {A, ("team", "b")}
    known.deleted("team", "b", "u-b")
    assert known.seen(body(version=20, uid="u3")) == {A}


def test_a_circle_of_readers_is_found_and_a_chain_is_none() -> None:
    known = KnownBatchJobs()
    known.seen(child("a", read="b", way="redriveOf"))
    for name, read in (("b", "c"), ("c", "a"), ("chained", "a"), ("self", "self"), ("last", "nobody")):
        known.seen(child(name, read=read))
    assert known.circle(A) == ["a", "b", "c"]
    assert known.circle(("team", "self")) == ["self"]
    assert [known.circle(("team", name)) for name in ("chained", "last", "nobody")] == [[], [], []]
    known.seen(ended(name="c", version=8, uid="u-c"))
    assert known.circle(A) == [], "one of them is done"


def test_comparing_with_all_names_finds_ghosts_and_strangers() -> None:
    known = KnownBatchJobs()
    for name, version in (("ghost", 5), ("young", 50), ("same", 6), ("edited", 7), ("again", 8)):
        known.seen(body(name, version, uid=f"u-{name}"))
    listed = [
        body("same", 30, uid="u-same"),
        body("edited", 31, uid="u-edited", generation=2),
        body("again", 32, uid="another"),
        body("stranger", 33, uid="u-stranger"),
    ]
    gone, unknown = known.compare([item["metadata"] for item in listed], version=40)
    assert gone == {("team", "ghost"), ("team", "again")}
    assert sorted(unknown) == [("team", "again"), ("team", "edited"), ("team", "stranger")]
    assert known.get(("team", "young")), "seen after the list was taken"


def test_comparing_one_namespace_leaves_the_others_alone() -> None:
    known = KnownBatchJobs()
    known.seen(body())
    assert known.compare([], version=40, namespace="other") == (set(), [])
    assert known.compare([], version=40, namespace="team")[0] == {A}
