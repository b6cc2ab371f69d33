"""Files that are wrong, as the world serves them: one clear sentence for each, no crash, and nothing is claimed."""

import gzip
import io
import re
import zipfile
from typing import Any, Final, NamedTuple

import pytest

from batchjob.core.items import RunState
from batchjob.core.snapshot import Snapshot
from batchjob.worker import load
from batchjob.worker.sources import limits
from batchjob.worker.sources.opening import open_source
from tests.store.test_sources import LINES, ONE_TRY_NO_WAIT, READ, spec, web
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers

GOOD: Final = b'{"id": "good"}\n'
MIB: Final = 1024 * 1024
PAGE: Final = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"


def packed(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("items.jsonl", bytes(size))
    return file.getvalue()


class Case(NamedTuple):
    """A body, or a fault of the server, and the words that tell of it."""

    name: str
    body: bytes
    said: str
    fault: dict[str, Any] | None = None
    reason: str = "InvalidSource"

    @property
    def form(self) -> str:
        return self.name.partition("-")[0]


CASES: Final = [
    Case("jsonl-not-utf-8", GOOD + b'{"id": "\xff"}\n', "line 2: not UTF-8"),
    Case("jsonl-latin-1", GOOD + '{"id": "Grüße"}\n'.encode("latin-1"), "line 2: not UTF-8"),
    Case("jsonl-line-of-10-mib", GOOD + b'{"id": "' + b"x" * 10 * MIB + b'"}\n', "line 2: longer than 1048576 bytes"),
    Case("jsonl-no-line-end-at-all", b"x" * 3 * MIB, "line 1: longer than 1048576 bytes"),
    Case("jsonl-gzip-bomb", gzip.compress(bytes(64 * MIB)), r"it is compressed \(gzip\)"),
    Case("jsonl-zip-bomb", packed(64 * MIB), r"it is compressed \(zip\)"),
    Case("jsonl-gzip-truncated", gzip.compress(LINES)[:20], r"it is compressed \(gzip\)"),
    Case("jsonl-zstd", b"\x28\xb5\x2f\xfd" + bytes(50), r"it is compressed \(zstd\)"),
    Case("jsonl-utf-16", '{"id": "a"}\n'.encode("utf-16"), "it is written in UTF-16: write it in UTF-8"),
    Case("jsonl-utf-16-without-a-mark", '{"id": "a"}\n'.encode("utf-16-le"), "it is written in UTF-16"),
    Case("jsonl-nul-bytes", GOOD + b"\0\0\0\0\n", "line 2: not JSON"),
    Case("jsonl-nul-in-a-text", GOOD + b'{"id": "a\0"}\n', "line 2: not JSON"),
    Case("jsonl-nan", GOOD + b'{"id": "a", "n": NaN}\n', "line 2: not JSON"),
    Case("jsonl-infinity", GOOD + b'{"id": "a", "n": -Infinity}\n', "line 2: not JSON"),
    Case("jsonl-1e999", GOOD + b'{"id": "a", "n": 1e999}\n', "line 2: not JSON: Number out of range"),
    Case(
        "jsonl-2000-deep",
        GOOD + b'{"id": "a", "n": ' + b"[" * 2000 + b"]" * 2000 + b"}\n",
        "line 2: nested deeper than 200 levels",
    ),
    Case(
        "jsonl-201-deep",
        GOOD + b'{"id": "a", "n": ' + b"[" * 200 + b"]" * 200 + b"}\n",
        "line 2: nested deeper than 200 levels",
    ),
    Case("jsonl-brackets-without-end", GOOD + b"[" * 500_000, "line 2: nested deeper than 200 levels"),
    Case("jsonl-single-quotes", GOOD + b"{'id': 'a'}\n", "line 2: not JSON"),
    Case("jsonl-trailing-comma", GOOD + b'{"id": "a",}\n', "line 2: not JSON"),
    Case("jsonl-two-on-a-line", GOOD + b'{"id": "a"}{"id": "b"}\n', "line 2: not JSON"),
    Case("jsonl-half-a-surrogate", GOOD + b'{"id": "\\ud800"}\n', "line 2: holds .ud800, half of a"),
    Case("jsonl-mark-in-the-middle", GOOD + b'\xef\xbb\xbf{"id": "a"}\n', "line 2: not JSON"),
    Case("jsonl-cut-in-the-last-line", GOOD + b'{"id": "a", "te', "line 2: not JSON"),
    Case("jsonl-a-number", GOOD + b"7\n", "line 2: not a JSON object but a number"),
    Case("jsonl-no-id", GOOD + b'{"ID": "a"}\n', "line 2: the field 'id'.* is missing"),
    Case("jsonl-id-null", GOOD + b'{"id": null}\n', "line 2: .* must be a text or a whole number, not null"),
    Case(
        "jsonl-id-a-fraction",
        GOOD + b'{"id": 1.5}\n',
        "line 2: .* must be a text or a whole number, not a number with a fraction",
    ),
    Case("jsonl-id-an-object", GOOD + b'{"id": {}}\n', "line 2: .* must be a text or a whole number, not an object"),
    Case("jsonl-id-empty", GOOD + b'{"id": ""}\n', "line 2: .* must be a text or a whole number, not an empty text"),
    Case("jsonl-id-of-129", GOOD + b'{"id": "' + b"x" * 129 + b'"}\n', "line 2: the id has 129 characters"),
    Case("jsonl-id-twice", GOOD * 2, "line 2: id 'good' is already used by line 1"),
    Case("jsonl-id-twice-as-text-and-number", b'{"id": 1}\n{"id": "1"}\n', "line 2: id '1' is already used by line 1"),
    Case(
        "jsonl-really-an-array",
        b'[{"id": "a"},\n{"id": "b"}]',
        "line 1: not JSON.*looks like json: check spec.source.uri.format",
    ),
    Case("jsonl-really-csv", b"id,n\na,1\n", "line 1: not JSON.*looks like csv: check spec.source.uri.format"),
    Case("jsonl-login-page", PAGE, "line 1: not JSON.*looks like a web page, perhaps one that asks for a login"),
    Case("csv-login-page", PAGE, "line 1: the header has no column 'id'.*looks like a web page"),
    Case("csv-missing-column", b"id,n\na,1\nb\n", "line 3: 1 fields, where the header has 2"),
    Case("csv-column-too-many", b"id,n\na,1\nb,2,3\n", "line 3: 3 fields, where the header has 2"),
    Case("csv-no-id-column", b"name,n\na,1\n", "line 1: the header has no column 'id'"),
    Case("csv-semicolons", b"id;n\na;1\n", "line 1: .*separated by ';': write the file with commas"),
    Case("csv-column-twice", b"id,n,n\na,1,2\n", "line 1: the header names the column 'n' twice"),
    Case("csv-open-quote", b'id,n\na,"1\nb,2\n', "line 2: a quote is opened and not closed"),
    Case("csv-open-quote-for-3-mib", b'id,n\na,"' + b"x\n" * MIB, "line 2: a quote is opened and not closed within"),
    Case("csv-stray-quotes", b'id,n\na,"1"2"3"\n', "line 2: not CSV"),
    Case("csv-nul", b"id,n\na,\0\n", "line 2: holds a NUL byte"),
    Case("csv-header-not-utf-8", b"id,\xff\na,1\n", "line 1: not UTF-8"),
    Case("csv-row-of-2-mib", b"id,n\na," + b"x" * 2 * MIB + b"\n", "line 2: longer than 1048576 bytes"),
    Case("json-an-object", b'{"items": [{"id": "a"}]}', "the file is not a JSON array of objects"),
    Case("json-a-text", b'"id"', "the file is not a JSON array of objects"),
    Case("json-empty", b"", "the file: not JSON"),
    Case("json-cut-off", b'[{"id": "a"}, {"id"', "the file: not JSON"),
    Case("json-an-element-is-none", b'[{"id": "a"}, "b"]', "record 2: not a JSON object but a text"),
    Case("json-brackets-without-end", b"[" * 500_000, "the file: (nested too deeply|not JSON)"),
    Case("json-record-of-2-mib", b'[{"id": "' + b"x" * 2 * MIB + b'"}]', "record 1: longer than 1048576 bytes"),
    Case(
        "jsonl-led-to-the-metadata-service",
        b"",
        "169.254.169.254 is a link-local address",
        {"action": "redirect", "location": "https://169.254.169.254/latest/meta-data"},
    ),
    Case(
        "jsonl-led-to-plain-http",
        b"",
        "it leads to http://example.com/items.jsonl, and only https:// is read",
        {"action": "redirect", "location": "http://example.com/items.jsonl"},
    ),
    Case(
        "jsonl-led-around",
        b"",
        "it leads through more than 5 redirects",
        {"action": "redirect", "location": "jsonl-led-around"},
    ),
    Case("jsonl-endless-lines", b"\n" * 65536, "larger than 4 MiB, the most a source may have", {"action": "endless"}),
    Case("jsonl-endless-line", b"x" * 65536, "line 1: longer than 1048576 bytes", {"action": "endless"}),
    Case("json-endless", b"[" + b" " * 65536, "larger than 4 MiB", {"action": "endless"}),
    Case("jsonl-packed-on-the-way", LINES, r"it is sent compressed \(gzip\)", {"action": "gzip"}),
    Case("jsonl-length-too-small", GOOD + b'{"id": "another"}\n', "line 2: not JSON", {"action": "short"}),
    Case("jsonl-broken-off", LINES, "cannot be reached: ", {"action": "disconnect"}, "SourceUnreachable"),
    Case("jsonl-absent", b"", "404: it does not exist", {"action": "status", "status": 404}, "SourceUnreachable"),
    Case(
        "jsonl-forbidden",
        b"",
        "403: reading it is not allowed",
        {"action": "status", "status": 403},
        "SourceUnreachable",
    ),
    Case("jsonl-out-of-order", b"", "answered 500", {"action": "status", "status": 500}, "SourceUnreachable"),
]


@pytest.fixture(autouse=True)
def small_and_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SOURCE_BYTES", 4 * MIB)
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0.0)


async def loaded(workers: Workers, neighbours: Neighbours, case: Case, policy: str) -> Snapshot:
    """The run after one worker has tried to load it."""
    neighbours.put_file(case.name, case.body)
    neighbours.set_faults("https", [{"match": case.name, **case.fault}] if case.fault else [])
    source = {"uri": web(neighbours, case.name, format=case.form), "onBadItem": policy}
    run = await workers.open(spec(source, **ONE_TRY_NO_WAIT))
    workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
    store = workers.store.run(run.uid, "w")

    async def opened() -> Any:
        return open_source(run, workers.folder(run) / "references", workers.store, "w")

    await load.load(run, store, opened, None, 5)
    found = await workers.snapshot(run)
    if found.state is RunState.FAILED:
        assert (await store.exchange([], 10)).chunks == []
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_source_that_is_wrong_says_so_in_one_sentence_and_starts_nothing(
    workers: Workers, neighbours: Neighbours, case: Case
) -> None:
    found = await loaded(workers, neighbours, case, "fail")
    assert (found.state, found.reason, found.counts.waiting) == (RunState.FAILED, case.reason, 0)
    message = found.message or ""
    assert re.match(rf"spec\.source\.uri: .*/files/{case.name}\b.*({case.said})", message), message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_may_be_left_out_is_counted_and_nothing_wrong_passes_for_right(
    workers: Workers, neighbours: Neighbours, case: Case
) -> None:
    found = await loaded(workers, neighbours, case, "skip")
    if found.state is RunState.FAILED:
        assert found.reason == case.reason
        assert case.name in (found.message or "")
    else:
        assert re.match(case.said.partition(".*")[0], found.bad_item_messages[0])
        assert (found.bad_items, found.counts.waiting, found.total) == (1, 1, 1)


async def test_a_server_that_drips_is_not_waited_for_without_end(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_SECONDS", 0.0)
    case = Case("jsonl-slow", LINES, "", None)
    found = await loaded(workers, neighbours, case, "fail")
    assert found.reason == "SourceUnreachable"
    assert (found.message or "").endswith("jsonl-slow was not read within 0 s, the longest that a source may take")


async def test_a_mark_of_byte_order_at_the_beginning_is_no_fault(workers: Workers, neighbours: Neighbours) -> None:
    found = await loaded(workers, neighbours, Case("jsonl-mark", b"\xef\xbb\xbf" + LINES, ""), "fail")
    assert (found.state, found.total) == (RunState.OPEN, len(READ))
