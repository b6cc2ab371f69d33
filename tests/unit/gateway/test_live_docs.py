"""What the page about live events says is what the gateway says."""

import re

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.core.events import LiveType, Standing, Told, build_failure, build_progress, news
from batchjob.core.standings import build_result, build_standing
from batchjob.gateway import live_hub, live_socket, live_stream
from batchjob.gateway.live_socket import Close
from tests.unit.test_house import table, text

PAGE = text("docs", "how-to", "watch-live.md")
PHASES = {
    LiveType.QUEUED: Phase.QUEUED,
    LiveType.STARTED: Phase.RUNNING,
    LiveType.SUSPENDED: Phase.SUSPENDED,
    LiveType.COMPLETE: Phase.SUCCEEDED,
    LiveType.ERROR: Phase.FAILED,
    LiveType.CANCELLED: Phase.CANCELLED,
}


def test_every_code_of_a_closed_websocket_is_explained_in_its_own_words() -> None:
    codes = [close for close in vars(live_socket).values() if isinstance(close, Close)]
    assert [(int(code), why) for code, why in table(PAGE, "## How a WebSocket is closed")] == codes


def test_every_event_is_described_with_its_fields() -> None:
    rows = {kind: set(filter(None, data.split(", "))) for kind, data, _ in table(PAGE, "## The events")}
    assert list(rows) == list(LiveType)
    said = {"item": "a", "message": "page 3"}
    found = {LiveType.PROGRESS: set(build_progress(said, loaded=True)), LiveType.ITEM_FAILED: set(build_failure({}))}
    for kind, phase in PHASES.items():
        status = BatchJobStatus.model_validate({"phase": phase, "queuePosition": 3, "conditions": conditions()})
        standing = build_standing(status, 5)
        [event] = news("team.a", Told(), [], [standing], 5).events
        assert event.type is kind
        found[kind] = set(event.data) - {"jobId"}
    [event] = news("team.a", Told(begun=True), [], [Standing(Phase.RUNNING, 5, {})], 5).events
    found[event.type] = set(event.data) - {"jobId"}
    assert rows == found


def conditions() -> list[dict[str, str]]:
    why = {"status": "True", "reason": "Why", "message": "because", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return [why | {"type": kind} for kind in ("Suspended", "Failed")]


def test_the_result_has_the_fields_that_are_named() -> None:
    named = re.search(r"`result` has (.*?), and\s+`(\w+)`", PAGE)
    assert named
    status = BatchJobStatus.model_validate({"results": {"uri": "s3://a/b"}})
    assert [*named[1].split(", "), named[2]] == list(build_result(status).to_json())


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert live_hub.QUEUE == 1000
    assert "once a thousand events wait for it" in words
    assert f"nothing could be sent to it for {live_stream.SEND_SECONDS:.0f} seconds" in words
    assert f"An owner may have {live_hub.MOST_OF_OWNER} connections" in words
    assert f"Every {live_stream.HEARTBEAT_SECONDS:.0f} seconds without an event" in words
    assert live_stream.CHECK_SECONDS == live_stream.HEARTBEAT_SECONDS
    assert f"within {live_socket.TOKEN_SECONDS:.0f} seconds" in words
