"""The two shells: the same methods, no token where it could be read, and nothing for those who do not use them."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

import batchjob
from batchjob.client import AsyncClient, Client, NoAnswer, Retries, Unauthenticated
from batchjob.errors import ConfigurationError

TOKEN = "bj_alice_" + "s" * 32
JOB = {"id": "t.a", "name": "a", "namespace": "t", "type": "custom", "state": "running"}


def answering(seen: list[httpx2.Request], status: int = 200) -> httpx2.MockTransport:
    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(status, json={"success": True, "job": JOB})

    return httpx2.MockTransport(answer)


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method) for name, method in vars(kind).items() if name[0] != "_" and callable(method)
    }


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    sync, both = public(Client), public(AsyncClient)
    sync["aclose"] = sync.pop("close")
    assert sync.keys() == both.keys()
    assert {name: found.parameters for name, found in sync.items()} == {
        name: found.parameters for name, found in both.items()
    }
    for name, method in public(Client).items():
        assert inspect.iscoroutinefunction(getattr(AsyncClient, "aclose" if name == "close" else name)) == (
            "Iterator" not in str(method.return_annotation)
        )


def test_the_token_is_sent_as_a_header_and_shown_nowhere() -> None:
    seen: list[httpx2.Request] = []
    with Client("https://gateway/base/", token=TOKEN, transport=answering(seen)) as client:
        assert client.get("t.a").id == "t.a"
        assert TOKEN not in f"{client!r}{client.__dict__['_http']!r}"
    [request] = seen
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert str(request.url) == "https://gateway/base/api/v1/batch-jobs/t.a"
    assert TOKEN not in f"{request!r}{request.headers!r}"


def test_a_failure_does_not_carry_the_token_along(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no route", request=request)

    caplog.set_level(0)
    with (
        Client(
            "https://gateway", token=TOKEN, transport=httpx2.MockTransport(fail), retries=Retries(tries=1)
        ) as client,
        pytest.raises(NoAnswer) as raised,
    ):
        client.get("t.a")
    assert str(raised.value) == "GET /api/v1/batch-jobs/t.a at gateway: ConnectError: no route"
    assert raised.value.reached is False
    assert raised.value.__cause__ is None
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "url", ["https://alice:secret@gateway", "https://gateway?token=secret", "ftp://gateway", "gateway"]
)
def test_an_address_with_a_secret_or_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url: ") as raised:
        Client(url, token=TOKEN)
    assert "secret" not in str(raised.value)


def test_a_token_in_a_file_is_read_with_each_request(tmp_path: Path) -> None:
    seen: list[httpx2.Request] = []
    file = tmp_path / "token"
    with Client("https://gateway", token=file, transport=answering(seen)) as client:
        for text in ("first", "second\n"):
            file.write_text(text)
            client.get("t.a")
        file.unlink()
        with pytest.raises(ConfigurationError, match=r"token: the file .* cannot be read: FileNotFoundError"):
            client.get("t.a")
    assert [request.headers["authorization"] for request in seen] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Other: 1", "ü"])
def test_a_text_that_is_no_token_is_refused_and_not_repeated(token: str) -> None:
    with (
        Client("https://gateway", token=token, transport=answering([])) as client,
        pytest.raises(ConfigurationError, match="token: is empty, or has a character that no token has"),
    ):
        client.get("t.a")


async def test_a_token_may_be_called_for_and_awaited() -> None:
    seen: list[httpx2.Request] = []

    async def fetched() -> str:
        return "fetched"

    async with AsyncClient("https://gateway", token=fetched, transport=answering(seen)) as client:
        assert (await client.get("t.a")).id == "t.a"
    with Client("https://gateway", token=lambda: "called", transport=answering(seen)) as blocking:
        blocking.get("t.a")
    assert [request.headers["authorization"] for request in seen] == ["Bearer fetched", "Bearer called"]


def test_a_redirect_is_not_followed() -> None:
    seen: list[httpx2.Request] = []
    with (
        Client("https://gateway", token=TOKEN, transport=answering(seen, 302)) as client,
        pytest.raises(batchjob.client.ApiError, match="302"),
    ):
        client.get("t.a")
    assert len(seen) == 1


def test_an_answer_that_refuses_is_raised() -> None:
    with (
        Client("https://gateway", token=TOKEN, transport=answering([], 401)) as client,
        pytest.raises(Unauthenticated),
    ):
        client.get("t.a")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_importing_batchjob_loads_nothing_and_the_client_nothing_of_the_servers() -> None:
    loaded = (
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'httpx2', 'pydantic', 'msgspec', 'redis'}))"
    )
    assert run(f"import sys, batchjob; {loaded}") == "[]\n"
    assert run(f"import sys; from batchjob import Client; {loaded}") == "['httpx2', 'msgspec']\n"


def test_without_its_extra_the_client_says_what_to_install() -> None:
    said = run("import sys; sys.modules['httpx2'] = None; from batchjob import Client")
    assert "ImportError: the client needs httpx2: pip install 'batchjob[client]'" in said
    missing: Any = "Other"
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        getattr(batchjob, missing)
