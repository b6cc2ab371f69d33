"""The test equipment itself, each neighbour through the client that the product uses."""

import asyncio
import json
import math
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx2
import openai
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from batchjob.api.blocks.ai_batch import FormSchema
from batchjob_processors.form import Form
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.neighbours.neighbours.form import fill, read

FORM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["sentiment", "score", "stars", "topics", "urgent", "summary", "language"],
    "properties": {
        "sentiment": {"type": "string", "enum": ["positive", "negative", "neutral"]},
        "score": {"type": "number", "minimum": 0, "maximum": 100},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "topics": {"type": "array", "items": {"enum": ["battery", "price", "screen"]}, "maxItems": 2},
        "urgent": {"type": "boolean"},
        "summary": {"type": "string", "maxLength": 20},
        "language": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}
GOOD, BAD, FLAT = "I love this camera, it is wonderful!", "Terrible. The screen broke at once.", "It has a lens."


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


@pytest.fixture
def neighbours(process: Neighbours) -> Neighbours:
    process.clear_faults()
    process.reset_ledgers()
    return process


@pytest.fixture
async def chat(neighbours: Neighbours) -> AsyncIterator[openai.AsyncOpenAI]:
    base_url = f"http://127.0.0.1:{neighbours.ports['chat']}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


async def ask(chat: openai.AsyncOpenAI, content: str, *, item: str | None = None, **fields: Any) -> Any:
    """One question; the answer parsed from JSON."""
    form = {"type": "json_schema", "json_schema": {"name": "form", "schema": FORM, "strict": True}}
    answer = await chat.chat.completions.create(
        messages=[{"role": "system", "content": "Fill the form."}, {"role": "user", "content": content}],
        extra_headers={"X-BatchJob-Item": item} if item else {},
        **{"model": "stand-in", "response_format": form, **fields},
    )
    return json.loads(answer.choices[0].message.content or "")


async def test_the_chat_server_fills_every_field_within_its_bounds_and_always_the_same(
    chat: openai.AsyncOpenAI,
) -> None:
    first = await ask(chat, json.dumps({"text": BAD}))
    assert first.keys() == FORM["properties"].keys()  # type: ignore[attr-defined]
    assert first["sentiment"] == "negative"
    assert 0 <= first["score"] < 50
    assert first["stars"] in range(1, 6)
    assert first["topics"] == ["screen"]
    assert isinstance(first["urgent"], bool)
    assert first["summary"] == BAD[:20]
    assert isinstance(first["language"], str)
    assert await ask(chat, BAD) == first, "an item as JSON and its bare text are one item"


@st.composite
def form_fields(draw: st.DrawFn) -> dict[str, Any]:
    """A field of a form as a BatchJob declares it."""
    kind = draw(st.sampled_from(["string", "boolean", "list", "enum", "number", "integer"]))
    name = draw(st.sampled_from(["score", "sentiment", "label", "topic"]))
    field: dict[str, Any] = {"name": name, "type": kind, "required": draw(st.booleans())}
    if kind == "enum":
        field["enum"] = draw(st.lists(st.sampled_from(["Positive", "negative", "good", "1", "ß"]), min_size=1))
    if kind in ("number", "integer"):
        limit = st.none() | st.integers(-1000, 1000) | st.floats(-1000, 1000)
        low, high = draw(limit), draw(limit)
        assume(low is None or high is None or math.ceil(low) <= math.floor(high))
        field |= {"minimum": low, "maximum": high}
    return field


@given(form_fields(), st.text(max_size=40) | st.sampled_from([GOOD, BAD, FLAT]))
def test_any_form_that_the_product_sends_is_filled_so_that_the_product_accepts_it(
    field: dict[str, Any], text: str
) -> None:
    form = FormSchema.model_validate({"fields": [field]})
    answer = Form.of_fields(form).parse(json.dumps(fill(Form.of_fields(form).schema, read(text))))
    assert answer.keys() == {field["name"]}


@pytest.mark.parametrize(("text", "label"), [(GOOD, "positive"), (BAD, "negative"), (FLAT, "neutral")])
async def test_the_sentiment_is_the_lexicon_models(chat: openai.AsyncOpenAI, text: str, label: str) -> None:
    schema = {"properties": {"label": {"type": "string"}, "score": {"type": "number"}}}
    system = f"Answer in JSON by this schema: {json.dumps(schema)}. Nothing else."
    answer = await chat.chat.completions.create(
        model="stand-in",
        messages=[{"role": "system", "content": system}, {"role": "user", "content": text}],
        response_format={"type": "json_object"},
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert found["label"] == label
    assert (found["score"] > 0.05, found["score"] < -0.05) == (label == "positive", label == "negative")
    assert answer.model == "stand-in"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 10


async def test_an_item_is_still_the_item_after_the_model_was_shown_its_mistake(
    chat: openai.AsyncOpenAI, neighbours: Neighbours
) -> None:
    await chat.chat.completions.create(
        model="stand-in",
        messages=[
            {"role": "user", "content": json.dumps({"text": GOOD})},
            {"role": "assistant", "content": "{"},
            {"role": "user", "content": "That was no JSON. Answer again."},
        ],
    )
    await ask(chat, GOOD)
    assert len({row["item"] for row in neighbours.ledger("chat")}) == 1


async def test_an_answer_longer_than_the_limit_is_cut_and_says_so(chat: openai.AsyncOpenAI) -> None:
    answer = await chat.chat.completions.create(
        model="stand-in", messages=[{"role": "user", "content": GOOD}], max_completion_tokens=2
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temperature": 3}, "temperature"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"model": ""}, "model"),
        ({"response_format": {"type": "json_object"}}, "JSON"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": {"$ref": "#/x"}}}}, "ref"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "owner", "content": "x"}]}, "role"),
    ],
)
async def test_a_malformed_chat_request_is_refused_with_the_field_named(
    chat: openai.AsyncOpenAI, neighbours: Neighbours, fields: dict[str, Any], named: str
) -> None:
    request: dict[str, Any] = {"model": "stand-in", "messages": [{"role": "user", "content": GOOD}], **fields}
    with pytest.raises(openai.BadRequestError, match=named):
        await chat.chat.completions.create(**request)
    assert [row["status"] for row in neighbours.ledger("chat")] == [400]


async def test_a_request_without_a_token_is_refused(neighbours: Neighbours) -> None:
    async with httpx2.AsyncClient() as client:
        url = f"http://127.0.0.1:{neighbours.ports['chat']}/v1/"
        message = {"model": "stand-in", "messages": [{"role": "user", "content": GOOD}]}
        refused = await client.post(f"{url}chat/completions", json=message)
        models = await client.get(f"{url}models", headers={"Authorization": "Bearer any"})
    assert (refused.status_code, models.status_code) == (401, 200)
    assert [model["id"] for model in models.json()["data"]] == ["vader"]


async def test_a_flaky_item_fails_twice_and_then_succeeds_while_others_do_not_notice(
    chat: openai.AsyncOpenAI, neighbours: Neighbours
) -> None:
    flaky = {"match": "love", "action": "status", "status": 503, "retry_after": 7, "times": 2}
    neighbours.set_faults("chat", [flaky, {"match": "Terr.ble", "action": "status"}])
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(chat, GOOD, item="run:good")
        assert caught.value.response.headers["Retry-After"] == "7"
    await ask(chat, GOOD, item="run:good")
    with pytest.raises(openai.InternalServerError):
        await ask(chat, BAD, item="run:bad")
    await ask(chat, FLAT, item="run:flat")

    rows = neighbours.ledger("chat")
    assert [(row["item"], row["status"]) for row in rows] == [
        *[("run:good", 503), ("run:good", 503), ("run:good", 200)],
        *[("run:bad", 500), ("run:flat", 200)],
    ]
    assert [rule["hits"] for rule in neighbours.faults()["chat"]] == [2, 1]
    assert neighbours.summary("chat") == {
        "rows": 5,
        "by_status": {"503": 2, "200": 2, "500": 1},
        "count": 2,
        "distinct_items": 2,
        "repeats": 0,
    }


async def test_a_fault_counts_for_each_item_apart(chat: openai.AsyncOpenAI, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"action": "status", "status": 429, "times": 1}])
    for item in ("run:a", "run:b"):
        with pytest.raises(openai.RateLimitError):
            await ask(chat, GOOD, item=item)
        await ask(chat, GOOD, item=item)


async def test_a_cut_connection_an_invalid_and_a_wrong_answer_are_what_they_say(
    chat: openai.AsyncOpenAI, neighbours: Neighbours
) -> None:
    neighbours.set_faults(
        "chat",
        [
            {"action": "disconnect", "times": 1},
            {"action": "invalid_json", "times": 1},
            {"action": "wrong_answer", "times": 1},
        ],
    )
    with pytest.raises(openai.APIConnectionError):
        await ask(chat, GOOD)
    with pytest.raises(json.JSONDecodeError):
        await ask(chat, GOOD)
    assert (await ask(chat, GOOD))["sentiment"] == {"wrong": True}
    assert (await ask(chat, GOOD))["sentiment"] == "positive"
    faults = [(row["status"], row.get("fault")) for row in neighbours.ledger("chat")]
    assert faults == [(0, "disconnect"), (200, "invalid_json"), (200, "wrong_answer"), (200, None)]
    assert neighbours.summary("chat")["count"] == 1


async def test_a_delay_holds_back_every_answer_and_other_faults_still_act(
    chat: openai.AsyncOpenAI, neighbours: Neighbours
) -> None:
    slow = {"action": "delay", "delay_seconds": 0.2}
    neighbours.set_faults("chat", [slow, {"match": "Terrible", "action": "status", "status": 500}])
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(openai.InternalServerError):
        await ask(chat, BAD)
    assert loop.time() - began >= 0.2
    await ask(chat, GOOD)
    assert loop.time() - began >= 0.4


@pytest.mark.parametrize(
    ("name", "rule", "complaint"),
    [
        ("chat", {"action": "smtp_code"}, "chat knows the actions"),
        ("smtp", {"action": "status"}, "smtp knows the actions"),
        ("chat", {"action": "status", "colour": "red"}, "a rule has the fields"),
        ("chat", {"action": "status", "match": "("}, "no regular expression"),
        ("chat", {"action": "status", "status": 200}, "400 to 599"),
        ("chat", {"action": "delay", "delay_seconds": "long"}, "numbers"),
    ],
)
def test_a_wrong_rule_is_refused_and_changes_nothing(
    neighbours: Neighbours, name: str, rule: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        neighbours.set_faults(name, [rule])
    with caught.value as refused:
        assert refused.code == 400
        assert complaint in refused.read().decode()
    assert neighbours.faults()[name] == []


def mail(recipient: str, number: int = 0) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "batch@example.com", recipient, f"Grüße {number}"
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content(f"Dear reader,\nnumber {number}.\n.\n")
    return message


async def test_the_mail_sink_keeps_each_mail_and_writes_its_row(neighbours: Neighbours) -> None:
    async with aiosmtplib.SMTP(
        hostname="127.0.0.1", port=neighbours.ports["smtp"], username="any", password="any"
    ) as smtp:
        for number in range(2):
            await smtp.send_message(mail("a@example.com", number))
        await smtp.send_message(mail("a@example.com", 1))
    row = neighbours.mails(limit=3)[1]
    assert row["rcpt_tos"] == ["a@example.com"]
    assert (row["item"], row["mail_from"], row["subject"]) == ("<1@example.com>", "batch@example.com", "Grüße 1")
    raw = neighbours.mail(row["sequence"])
    assert len(raw) == row["size"]
    assert b"number 1.\r\n.\r\n" in raw
    summary = neighbours.summary("smtp")
    assert (summary["count"], summary["distinct_items"], summary["repeats"]) == (3, 2, 1)
    assert [found["sequence"] for found in neighbours.mails(limit=1)] == [2]


async def test_the_mail_sink_refuses_a_recipient_with_the_code_asked_for(neighbours: Neighbours) -> None:
    rules: list[dict[str, Any]] = [
        {"match": "^slow@", "action": "smtp_code", "times": 1},
        {"match": "^gone@", "action": "smtp_code", "status": 550},
        {"match": "^cut@", "action": "disconnect"},
    ]
    neighbours.set_faults("smtp", rules)
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=neighbours.ports["smtp"]) as smtp:
        for recipient, code in (("slow@example.com", 451), ("gone@example.com", 550)):
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
                await smtp.send_message(mail(recipient))
            assert refused.value.recipients[0].code == code
        await smtp.send_message(mail("slow@example.com"))
    with pytest.raises(aiosmtplib.SMTPException):  # the connection may break at any of its commands
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=neighbours.ports["smtp"]) as smtp:
            await smtp.send_message(mail("cut@example.com"))
    assert [row["rcpt_tos"] for row in neighbours.ledger("smtp")] == [["slow@example.com"]]


@pytest.fixture
def bucket(neighbours: Neighbours) -> S3Store:
    return S3Store(
        "batchjob",
        endpoint=f"http://127.0.0.1:{neighbours.ports['s3']}",
        region="us-east-1",
        access_key_id="any",
        secret_access_key="any",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


async def test_the_s3_store_takes_whole_objects_and_parts_and_writes_a_row_for_each_object(
    neighbours: Neighbours, bucket: S3Store
) -> None:
    await bucket.put_async("exports/ä b.csv", b"id\n1\n")
    parts = [bytes([number]) * 5 * 2**20 for number in range(3)]
    await bucket.put_async("exports/large", b"".join(parts), use_multipart=True, chunk_size=5 * 2**20)
    await bucket.copy_async("exports/large", "exports/copy")
    assert neighbours.get_object("batchjob", "exports/ä b.csv") == b"id\n1\n"
    assert neighbours.get_object("batchjob", "exports/large") == b"".join(parts)
    assert neighbours.list_objects("batchjob", "exports") == ["exports/copy", "exports/large", "exports/ä b.csv"]
    rows = neighbours.ledger("s3")
    assert [(row["key"], row["size"]) for row in rows] == [
        ("exports/ä b.csv", 5),
        ("exports/large", 15 * 2**20),
        ("exports/copy", 15 * 2**20),
    ]
    assert (await bucket.head_async("exports/large"))["e_tag"] == rows[1]["etag"]


async def test_an_object_that_exists_is_not_overwritten_where_the_client_forbids_it(
    neighbours: Neighbours, bucket: S3Store
) -> None:
    await bucket.put_async("once", b"first")
    with pytest.raises(AlreadyExistsError):
        await bucket.put_async("once", b"second", mode="create")
    assert neighbours.get_object("batchjob", "once") == b"first"
    assert len(neighbours.ledger("s3")) == 1


async def test_the_name_of_a_service_is_not_taken_for_a_bucket(neighbours: Neighbours) -> None:
    neighbours.put_object("batchjob", "named", b"x")
    url = f"http://127.0.0.1:{neighbours.ports['s3']}/batchjob/named"
    async with httpx2.AsyncClient() as client:
        for host in ("neighbours:9000", "neighbours.demo.svc:9000"):
            headers = {"Host": host, "Authorization": "AWS any:any"}
            assert (await client.get(url, headers=headers)).content == b"x"


@pytest.mark.parametrize("action", ["status", "disconnect"])
async def test_the_s3_store_fails_for_the_keys_asked_for(neighbours: Neighbours, bucket: S3Store, action: str) -> None:
    neighbours.set_faults("s3", [{"match": "^PUT .*part-0", "action": action, "times": 1}])
    with pytest.raises(Exception, match=r"part-0|error sending request"):
        await bucket.put_async("part-0", b"x" * 2**20)
    await bucket.put_async("part-1", b"x")
    await bucket.put_async("part-0", b"y")
    assert [row["key"] for row in neighbours.ledger("s3")] == ["part-1", "part-0"]


@pytest.fixture
async def https(neighbours: Neighbours) -> AsyncIterator[httpx2.AsyncClient]:
    trust = ssl.create_default_context(cadata=neighbours.ca_certificate())
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    base_url = f"https://localhost:{neighbours.ports['https']}/files/"
    async with httpx2.AsyncClient(base_url=base_url, verify=trust) as client:
        yield client


async def test_the_https_server_serves_files_with_etag_and_range_to_those_who_trust_its_authority(
    neighbours: Neighbours, https: httpx2.AsyncClient
) -> None:
    neighbours.put_file("items.jsonl", b'{"id": 1}\n')
    whole = await https.get("items.jsonl")
    assert whole.content == b'{"id": 1}\n'
    same = await https.get("items.jsonl", headers={"If-None-Match": whole.headers["ETag"]})
    part = await https.get("items.jsonl", headers={"Range": "bytes=7-"})
    assert (part.content, part.headers["Content-Range"]) == (b"1}\n", "bytes 7-9/10")
    neighbours.put_file("items.jsonl", b"[]")
    changed = await https.get("items.jsonl", headers={"If-None-Match": whole.headers["ETag"]})
    assert changed.content == b"[]"
    absent = await https.get("absent")
    statuses = [response.status_code for response in (whole, same, part, changed, absent)]
    assert statuses == [200, 304, 206, 200, 404] == [row["status"] for row in neighbours.ledger("https")]
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        httpx2.get(f"{https.base_url}items.jsonl")


async def test_the_https_server_fails_and_cuts_a_file_in_the_middle(
    neighbours: Neighbours, https: httpx2.AsyncClient
) -> None:
    neighbours.put_file("large.csv", b"x" * 100_000)
    cut = {"match": "large", "action": "disconnect", "times": 1}
    neighbours.set_faults("https", [cut, {"match": "large", "action": "status", "status": 502, "times": 1}])
    received = b""
    with pytest.raises(httpx2.RemoteProtocolError):  # noqa: PT012  # the body breaks off while it is read
        async with https.stream("GET", "large.csv") as response:
            async for chunk in response.aiter_bytes():
                received += chunk
    assert len(received) == 50_000
    assert (await https.get("large.csv")).status_code == 502
    assert (await https.get("large.csv")).status_code == 200


def test_ledgers_mails_files_and_the_authority_survive_a_restart(tmp_path: Path) -> None:
    def ask_once(neighbours: Neighbours) -> None:
        url = f"http://127.0.0.1:{neighbours.ports['chat']}/v1"
        with openai.OpenAI(base_url=url, api_key="any") as client:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": GOOD}])

    with local_neighbours(tmp_path) as first:
        ask_once(first)
        asyncio.run(aiosmtplib.send(mail("a@example.com"), hostname="127.0.0.1", port=first.ports["smtp"]))
        authority = first.ca_certificate()
        first.put_file("kept", b"kept")
    with local_neighbours(tmp_path) as second:
        ask_once(second)
        assert [row["sequence"] for row in second.ledger("chat")] == [0, 1]
        assert [row["sequence"] for row in second.ledger("chat", after=0)] == [1]
        assert second.summary("chat")["repeats"] == 1
        assert b"Dear reader" in second.mail(0)
        assert second.ca_certificate() == authority
        trust = ssl.create_default_context(cadata=authority)
        with urllib.request.urlopen(f"https://localhost:{second.ports['https']}/files/kept", context=trust) as kept:
            assert kept.read() == b"kept"
        second.reset_ledgers()
        assert second.ledger("chat") == []


async def test_the_page_says_that_this_is_test_equipment(neighbours: Neighbours) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{neighbours.ports['control']}") as client:
        assert "test equipment" in (await client.get("/")).text
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/ledger/absent")).status_code == 404
        assert (await client.get("/mails/99")).status_code == 404
