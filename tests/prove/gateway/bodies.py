"""Bodies that are wrong in every way: a 4xx that says so, in bounds of memory and time, and nothing is left of them."""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2

from batchjob.gateway.problems import MEDIA_TYPE, SLUGS, TOO_LARGE, TYPES
from tests.prove.gateway.stage import Stage, a_gateway
from tests.prove.gateway.wrong import GOOD, MANY, Wrong, wrong_requests
from tests.support.live_gateway import token

AT_ONCE: Final = 6
BLOCK: Final = b" " * 65_536
MOST_SECONDS: Final = 30.0  # of an answer, on a machine that is busy
MOST_GROWTH: Final = 128 * 2**20  # of memory, with AT_ONCE of them; each alone may be 100 MB by what it says
# One user may have half of those at once: none of these is to be refused because of the others.
UPLOADS: Final = {"UPLOADS_MAX_BYTES": str(2**23), "UPLOADS_AT_ONCE": str(2 * AT_ONCE)}


class Answer(NamedTuple):
    """What came back; status 0: nothing did."""

    status: int
    media_type: str
    body: bytes
    seconds: float


def trial(store_url: str, folder: Path, count: int, seed: int, *, staging: bool) -> dict[str, Any]:
    """So many; AssertionError where one is not refused as it should be."""
    staged = folder / "staged"
    staged.mkdir()
    settings = {"STAGING_URL": f"file://{staged}", "STAGING_CLAIM": "staging", **UPLOADS} if staging else {}
    with a_gateway(folder / "gateway", store_url, **settings) as stage:
        take_good(stage)
        before, memory = stage.api.snapshot(), most_memory(stage)
        wrong = list(wrong_requests(seed, count))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = [*pool.map(lambda one: send(stage.gateway.port, one), wrong)]
        bad = [said for one, answer in zip(wrong, answers, strict=True) if (said := fault(one, answer))]
        assert not bad, f"{len(bad)} were not refused as they should be:\n" + "\n".join(bad[:40])
        assert stage.api.snapshot() == before, "something was made or changed"
        assert not [path for path in staged.rglob("*") if path.is_file()], "something was staged"
        growth = most_memory(stage) - memory
        assert growth < MOST_GROWTH, f"memory grew by {growth} bytes"
        take_good(stage)
        assert "Traceback" not in stage.gateway.said()
    return {
        "bodies": count,
        "kinds": sorted(Counter(one.kind for one in wrong)),
        "most_seconds": round(max(answer.seconds for answer in answers), 1),
        "most_growth_mib": round(growth / 2**20),
    }


def take_good(stage: Stage) -> None:
    """What the wrong ones are made of is taken: so it is what was spoilt that is refused."""
    headers = {"Authorization": f"Bearer {token('admin')}"}
    for (method, path), body in GOOD.items():
        told = body | ({"name": f"n{time.time_ns():x}"} if "name" in body else {})
        answer = httpx2.request(method, stage.gateway.url + path, json=told, headers=headers, timeout=60)
        assert answer.status_code in {200, 201, 202}, answer.text


def most_memory(stage: Stage) -> int:
    """The most bytes that the gateway ever had."""
    assert stage.gateway.process
    status = Path(f"/proc/{stage.gateway.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def send(port: int, wrong: Wrong) -> Answer:
    """One request on a connection of its own."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=2 * MOST_SECONDS) as connection:
        try:
            connection.sendall(_head(wrong))
            for part in _parts(wrong):
                connection.sendall(part)
            if wrong.is_of_http:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # it has answered already
        found = _receive(connection)
    head, _, body = found.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    code = int(status.split()[1]) if status else 0
    return Answer(code, headers.get("content-type", ""), body, time.monotonic() - began)


def _head(wrong: Wrong) -> bytes:
    length = str(len(wrong.body)) if wrong.claim is None else wrong.claim
    lines = [
        f"{wrong.method} {wrong.path} HTTP/1.1",
        "Host: gateway",
        "Connection: close",
        f"Authorization: Bearer {token('admin')}",
        f"Content-Type: {wrong.media_type}",
        "Transfer-Encoding: chunked" if wrong.claim == "chunked" else f"Content-Length: {length}",
        *([f"Content-Encoding: {wrong.encoding}"] if wrong.encoding else ()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _parts(wrong: Wrong) -> Iterator[bytes]:
    if wrong.claim != "chunked":
        yield wrong.body
        return
    yield b"1\r\n{\r\n"
    for _ in range(0, MANY, len(BLOCK)):
        yield b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)


def _receive(connection: socket.socket) -> bytes:
    found = bytearray()
    try:
        while block := connection.recv(65_536):
            found += block
    except ConnectionError:
        pass  # it closed with bytes of ours that it did not read
    return bytes(found)


def fault(wrong: Wrong, answer: Answer) -> str:
    """Why it is not what has to be answered; empty where it is."""
    what = "too slow" if answer.seconds > MOST_SECONDS else _fault(wrong, answer)
    shown = f"{wrong.kind}: {wrong.method} {wrong.path} {wrong.body[:600]!r} {wrong.claim or ''}: {answer}"
    return what and f"{what}: {shown}"


def _fault(wrong: Wrong, answer: Answer) -> str:
    if wrong.is_of_http and answer.media_type != MEDIA_TYPE:
        return "" if answer.status in {0, 400} else "another status"
    if answer.status not in wrong.statuses:
        return "another status"
    if answer.media_type != MEDIA_TYPE:
        return "no problem"
    problem = json.loads(answer.body)
    if (problem["type"], problem["status"]) not in {(TYPES + slug.name, answer.status) for slug in SLUGS}:
        return "another type"
    faults = problem.get("errors", [])
    if wrong.where is not None and answer.status != TOO_LARGE.status and not any(_points(one, wrong) for one in faults):
        return f"it does not point at {wrong.where or 'anything'}, line {wrong.line}"
    return "" if problem["detail"] else "it says nothing"


def _points(one: dict[str, Any], wrong: Wrong) -> bool:
    """Whether it is of the place, of what is in it, or of what holds it."""
    pointer, where = one.get("pointer"), wrong.where or ""
    if pointer is None or one.get("line") != wrong.line or not one["detail"]:
        return False
    return (
        not where or (f"{where}/".startswith(f"{pointer}/") and pointer != "") or f"{pointer}/".startswith(f"{where}/")
    )
