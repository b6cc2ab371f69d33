"""The description of live events: each type that the code sends is there, and what is sent fits it."""

import json
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from batchjob.core.events import LiveType
from batchjob.gateway import live_socket
from batchjob.gateway.live_description import EVENTS, NOTICES, PATH, SUMMARIES, build
from batchjob.gateway.live_frames import build_notice
from tests.support.frames import check_frame
from tests.support.gateway import asking, build_gateway
from tests.unit.test_house import table, text

DOCUMENT: Final[dict[str, Any]] = build()


async def test_it_is_served_to_everybody() -> None:
    async with asking(build_gateway()) as client:
        answer = await client.get(PATH)
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert DOCUMENT["asyncapi"] == "3.0.0"


def test_every_type_of_event_is_described_as_the_page_has_it() -> None:
    assert [*EVENTS] == [*LiveType]
    rows = {kind: said for kind, _, said in table(text("docs", "how-to", "watch-live.md"), "## The events")}
    for kind, said in rows.items():
        assert SUMMARIES[kind].partition(". ")[0].rstrip(".") in said
    assert SUMMARIES.keys() == EVENTS.keys() | NOTICES.keys()


def test_every_reference_leads_somewhere() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found: Any = DOCUMENT
                for step in value["$ref"].removeprefix("#/").split("/"):
                    found = found[step]
            for child in value.values():
                walk(child)
        elif isinstance(value, list):
            for child in value:
                walk(child)

    walk(DOCUMENT)
    messages = DOCUMENT["components"]["messages"]
    assert {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]} == messages.keys()


@pytest.mark.parametrize("message", DOCUMENT["components"]["messages"].values(), ids=lambda message: message["title"])
def test_each_message_has_an_example_that_fits(message: dict[str, Any]) -> None:
    schema = message["payload"] | {"components": DOCUMENT["components"]}
    Draft202012Validator.check_schema(schema)
    for example in message["examples"]:
        Draft202012Validator(schema).validate(example["payload"])


def test_a_frame_that_is_not_described_is_found_out() -> None:
    good = build_notice("ready", 0, {"owner": None, "namespace": "team"}).text
    check_frame(good)
    for bad in (
        build_notice("ready", 0, {"owner": "alice"}).text,
        build_notice("ready", 0, {"owner": "alice", "namespace": "team", "more": 1}).text,
        build_notice("batch:unknown", 0).text,
        build_notice("batch:progress", 0, {"jobId": "t.a", "progress": 1.0, "processed": 1, "total": 2}).text,
    ):
        with pytest.raises(AssertionError):
            check_frame(bad)


def test_every_code_of_a_closed_websocket_is_named() -> None:
    codes = [close for close in vars(live_socket).values() if isinstance(close, live_socket.Close)]
    assert list(live_socket.CLOSES) == codes
    said = DOCUMENT["channels"]["ws"]["description"]
    assert all(f"{code}: {reason}" in said for code, reason in codes)
