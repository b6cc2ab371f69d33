"""Small rules of the worker: chunk sizes, addresses, claims, manifests, settings, templates."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks import Destination
from batchjob.api.defaults import effective
from batchjob.api.run import Purpose, Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.chunks import LARGEST, chunk_size, smoothed, to_lease
from batchjob.core.items import Item
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.local.processors import write_entry_points
from batchjob.store import ItemResult
from batchjob.worker import Context, Fail, Processor
from batchjob.worker.addresses import is_forbidden, refusal
from batchjob.worker.claims import path_on_claim
from batchjob.worker.load import PUT_BYTES, chunks
from batchjob.worker.manifest import as_row, build_manifest, read_parts
from batchjob.worker.processor import make_processor
from batchjob.worker.settings import read_settings
from batchjob.worker.sources.file import PathReader
from batchjob.worker.sources.opening import open_source
from batchjob.worker.sources.records import Record
from batchjob_processors.templates import Templates

DATA = {"volumes": [{"claimName": "data", "mountPath": "/data"}]}


def run(**fields: Any) -> Run:
    spec = BatchJobSpec.model_validate(
        {"type": "custom", "source": {"items": [{"id": "a", "data": {}}]}, "custom": {"processor": "noop"}, **fields}
    )
    return Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))


# ---- chunks


@given(st.integers(0, 100_000), st.integers(1, 1000))
def test_a_small_source_gives_every_worker_a_share(total: int, parallelism: int) -> None:
    size = chunk_size(total, parallelism)
    assert 1 <= size <= LARGEST
    assert size == LARGEST or size * parallelism * 4 >= total


@given(st.integers(0, 10_000), st.integers(0, 4096))
def test_a_worker_that_holds_nothing_ahead_leases_two_seconds_of_work(pace: int, reach: int) -> None:
    assert to_lease(pace, reach, 0) == max(2 * reach, min(2 * pace, LARGEST))


@given(st.integers(0, 10_000), st.integers(0, 4096), st.integers(0, 10_000))
def test_a_worker_fills_up_when_half_of_what_it_leased_is_gone(pace: int, reach: int, held: int) -> None:
    full = to_lease(pace, reach, 0)
    assert to_lease(pace, reach, held) == (full - held if held <= full // 2 else 0)


def test_slots_without_items_are_filled_before_anything_is_known_of_the_pace() -> None:
    assert to_lease(0, 0, -8) == 8


def test_four_slow_items_that_finish_together_do_not_look_like_a_fast_run() -> None:
    pace = smoothed(0, 4, 0.05)
    assert pace < 4
    assert smoothed(pace, 0, 10) < 0.1


@given(st.floats(0.1, 1e5))
def test_a_steady_pace_is_known_after_some_seconds(pace: float) -> None:
    known = 0.0
    for _ in range(100):
        known = smoothed(known, round(pace * 10), 10)
    assert known == pytest.approx(round(pace * 10) / 10)


async def records(positions: Iterable[int], size: int = 10) -> Any:
    placed = iter([(n, Record(f"i{n}", {"n": n}, size)) for n in positions])
    while some := list(islice(placed, 3)):
        yield some


async def sizes(count: int, parallelism: int, items: int | None = None, size: int = 10) -> list[int]:
    found = [chunk async for chunk in chunks(records(range(count), size), parallelism, items)]
    assert [item.position for chunk, _ in found for item in chunk] == list(range(count))
    assert [weight for _, weight in found] == [len(chunk) * size for chunk, _ in found]
    return [len(chunk) for chunk, _ in found]


async def test_chunks_fit_the_source_the_processor_and_the_weight_of_the_records() -> None:
    assert await sizes(10, parallelism=2) == [2, 2, 2, 2, 2]
    assert set(await sizes(10 * LARGEST, parallelism=2)) == {LARGEST}
    assert await sizes(250, parallelism=2, items=100) == [100, 100, 50]
    assert await sizes(6, parallelism=1, items=100, size=PUT_BYTES // 2) == [2, 2, 2]
    assert await sizes(0, parallelism=1) == []


async def test_a_gap_between_positions_ends_a_chunk() -> None:
    found = [chunk async for chunk in chunks(records([2, 3, 7, 8, 9, 20]), 1, 100)]
    assert [[item.position for item in chunk] for chunk, _ in found] == [[2, 3], [7, 8, 9], [20]]


# ---- addresses and claims


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("169.254.0.1", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.169.254", True),
        ("fd00:ec2::254", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
    ],
)
def test_link_local_addresses_are_forbidden_and_private_ones_are_not(address: str, forbidden: bool) -> None:
    assert is_forbidden(address) is forbidden


def test_one_forbidden_address_among_several_is_enough() -> None:
    assert refusal("h", ["10.0.0.1"]) is None
    assert refusal("h", ["10.0.0.1", "169.254.169.254"]) is not None


@pytest.mark.parametrize(
    "url", ["file:///data/../etc/passwd", "file://host/data/x", "file:///database/x", "s3://data/x"]
)
def test_a_path_beside_the_claims_is_refused(url: str, tmp_path: Path) -> None:
    mount = tmp_path / "data"
    mount.mkdir()
    with pytest.raises(ConfigurationError, match="not below a mount"):
        path_on_claim(url.replace("/data", str(mount)), [mount])
    assert path_on_claim(f"file://{mount}/a%20b", [mount]) == mount / "a b"


@pytest.mark.parametrize("url", ["file:///data/out#1", "file:///data/out?v=2", "s3://bucket/out#", "s3://bucket/?out"])
@pytest.mark.parametrize(
    ("block", "credentials", "authority"),
    [
        ("results", Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA),
        ("export", Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA),
    ],
)
def test_a_destination_whose_url_would_be_cut_is_refused(
    url: str, block: str, credentials: Purpose, authority: Purpose
) -> None:
    context: Any = Context(run(worker=DATA), None, Path())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rf"spec.{block}.destination.url must not contain .*%3F or %23"):
        context.destination(Destination(url=url), credentials, authority)


async def test_a_sign_that_would_cut_a_url_may_be_written_escaped(tmp_path: Path) -> None:
    volume = {"claimName": "data", "mountPath": str(tmp_path)}
    context: Any = Context(run(worker={"volumes": [volume]}), None, tmp_path)  # type: ignore[arg-type]
    place = Destination(url=f"file://{tmp_path}/out%231/")
    files = context.destination(place, Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA)
    await files.put("part", b"x")
    assert (tmp_path / "out#1" / context.run.folder / "part").read_bytes() == b"x"
    assert files.url("part") == f"file://{tmp_path}/out%231/{context.run.folder}/part"


@pytest.mark.parametrize("url", ["file:///data/in#1.jsonl", "s3://bucket/in.jsonl?versionId=7"])
def test_a_source_whose_url_would_be_cut_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match=r"spec.source.uri.url must not contain .*%3F or %23"):
        open_source(run(worker=DATA, source={"uri": {"url": url}}), tmp_path, None, "w")  # type: ignore[arg-type]


async def test_a_claim_that_fails_in_the_middle_of_a_file_is_named() -> None:
    broken = PathReader(Path("/proc/self/mem"), "file:///data/items.jsonl")  # can be opened; a read is an EIO
    with pytest.raises(SourceUnreachable, match=r"file:///data/items.jsonl cannot be read: Input/output error"):
        _ = [block async for block in broken.blocks()]


# ---- manifests


def test_a_manifest_sums_its_parts_and_sorts_them() -> None:
    committed = {
        "part-2": b'{"rows": 2, "bytes": 20, "sha256": "b"}',
        "part-1": b'{"rows": 1, "bytes": 10, "sha256": "a"}',
    }
    assert json.loads(build_manifest(run(), read_parts(committed))) == {
        "batchJob": "job",
        "uid": "u",
        "parts": [
            {"name": "part-1", "rows": 1, "bytes": 10, "sha256": "a"},
            {"name": "part-2", "rows": 2, "bytes": 20, "sha256": "b"},
        ],
        "rows": 3,
        "bytes": 30,
    }


def test_a_manifest_names_the_columns_for_which_no_part_has_a_value() -> None:
    committed = {
        "part-1": b'{"rows": 1, "bytes": 1, "sha256": "a", "emptyColumns": ["typo", "rare"]}',
        "part-2": b'{"rows": 1, "bytes": 1, "sha256": "b", "emptyColumns": ["typo"]}',
    }
    document = json.loads(build_manifest(run(), read_parts(committed)))
    assert document["emptyColumns"] == ["typo"]
    assert "emptyColumns" not in json.loads(build_manifest(run(), []))


@pytest.mark.parametrize(
    ("result", "row"),
    [
        (b'{"a": 1}', {"id": "x", "a": 1}),
        (b'{"id": "mine", "a": 1}', {"id": "x", "value": {"id": "mine", "a": 1}}),
        (b'{"id": "x", "a": 1}', {"id": "x", "a": 1}),
        (b"[1]", {"id": "x", "value": [1]}),
        (b'"t"', {"id": "x", "value": "t"}),
    ],
)
def test_a_result_is_a_row_with_the_items_id_whatever_id_it_has_itself(result: bytes, row: dict[str, Any]) -> None:
    assert as_row(ItemResult(0, "x", result)) == row


# ---- context


def test_a_context_knows_the_item_in_hand_and_says_so_when_there_is_none(tmp_path: Path) -> None:
    pod: Any = Context(run(custom={"processor": "noop", "params": {"k": "v"}}), None, tmp_path)  # type: ignore[arg-type]
    assert pod.params == {"k": "v"}
    assert pod.deadline is None
    with pytest.raises(LookupError):
        _ = pod.idempotency_key
    first = pod.holding([Item(3, "three", {}, attempt=2)], 60)
    again = pod.holding([Item(3, "three", {}, attempt=2)], 60)
    other = pod.holding([Item(3, "three", {}, attempt=3)], 60)
    assert (first.idempotency_key, first.attempt) == ("u:three", 2)
    assert 59 < first.seconds_left <= 60
    assert first.random.random() == again.random.random()
    assert first.random.random() != other.random.random()


def test_usage_only_grows(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    pod.usage("pages", 0)
    pod.usage("pages", 2)
    wrong: Any
    for wrong in (-1, 2**53 + 1, 1.5, True, "3", float("nan")):
        with pytest.raises(ValueError, match=r"usage 'pages': .* is no whole number from 0 to 2"):
            pod.usage("pages", wrong)
    assert pod.usage_sums == {"pages": 2}


def test_progress_is_told_of_all_items_in_hand_or_of_one(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(LookupError, match="no item is in hand"):
        pod.progress(0.5)
    items = [Item(n, f"i{n}", {}) for n in range(3)]
    context = pod.holding(items, 60)
    wrong: Any
    for wrong in (-0.1, 1.01, float("nan"), "0.5", None):
        with pytest.raises(ValueError, match=r"progress: .* is no number from 0 to 1"):
            context.progress(wrong)
    wrong = b"half"
    with pytest.raises(TypeError, match="the message b'half' is no text"):
        context.progress(0.5, wrong)
    assert context.told == {}
    context.progress(0.5, "x" * 1000)
    context.of(items[1]).progress(1, "done")
    assert [(n, one.fraction, one.item) for n, one in context.told.items()] == [
        (0, 0.5, "i0"), (1, 1.0, "i1"), (2, 0.5, "i0")
    ]  # fmt: skip
    assert context.told[0].message == "x" * 256


def test_a_context_of_one_of_several_items_shares_all_but_what_is_its_own(tmp_path: Path) -> None:
    items = [Item(n, f"i{n}", {}) for n in range(2)]
    context = Context(run(), None, tmp_path).holding(items, 60)  # type: ignore[arg-type]
    second = context.of(items[1])
    assert (context.idempotency_key, second.idempotency_key) == ("u:i0", "u:i1")
    second.usage("pages", 2)
    second.part("p", {})
    assert (context.usage_sums, list(context.new_parts)) == ({"pages": 2}, ["p"])
    assert 0 < second.seconds_left <= context.seconds_left + 1
    assert second.deadline is not None
    context.end()
    assert second.seconds_left <= 0
    with pytest.raises(LookupError, match="'i9' is not in hand"):
        context.of(Item(9, "i9", {}))


# ---- settings


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHJOB_PROBE_PORT", "http")
    with pytest.raises(ConfigurationError, match="BATCHJOB_PROBE_PORT"):
        read_settings()


def test_a_processor_that_the_image_does_not_have_is_named_with_its_field_and_those_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"^spec.custom.processor: .* no processor 'nope'; it has: .*noop"):
        make_processor("nope")


class Waiting(Processor):
    """An `async def`."""

    async def process(self, item: Item, context: Context) -> None:
        """Do nothing."""


@pytest.mark.parametrize(("place", "said"), [("process", "must be a plain `def`"), ("thred", "'thread' or 'process'")])
def test_a_processor_that_cannot_run_where_it_says_is_refused(
    place: Any, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_entry_points({"waiting": f"{__name__}:Waiting"}, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Waiting, "runs_in", place)
    with pytest.raises(ConfigurationError, match=f"^processor 'waiting': .*{said}"):
        make_processor("waiting")


# ---- templates


def test_a_template_that_never_ends_runs_out_of_fuel() -> None:
    templates = Templates(
        "spec.email", text="{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}"
    )
    with pytest.raises(Fail, match="fuel"):
        templates.render("text", {})


def test_a_template_is_strict_about_names_and_sees_no_python() -> None:
    templates = Templates("spec.email", text="{{ absent }}", attack="{{ ''.__class__.__mro__ }}")
    with pytest.raises(Fail, match="text"):
        templates.render("text", {})
    with pytest.raises(Fail):
        templates.render("attack", {})
