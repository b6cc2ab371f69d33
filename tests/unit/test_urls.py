"""URLs of sources: no login in one, and nothing of it in what is said."""

import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx2
import pytest

from batchjob.api.run import Purpose
from batchjob.api.source import Location, UriSource
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.files.buckets import explain, open_bucket
from batchjob.files.files import open_files
from batchjob.files.mounts import path_on_mount
from batchjob.files.urls import check_whole, masked
from batchjob.local.rules import complaints
from batchjob.worker import Folder
from batchjob.worker.sources import https
from batchjob.worker.sources.bucket import BucketReader
from batchjob.worker.sources.file import FileSource
from tests.support import manifests

SECRET: Final = "sekret"
URL: Final = f"https://user:{SECRET}@files.example/x.jsonl?token={SECRET}#{SECRET}"
SHOWN: Final = "https://…@files.example/x.jsonl?…"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, SHOWN),
        (f"s3://{SECRET}@bucket/key@2", "s3://…@bucket/key@2"),
        (f"https://host?{SECRET}\n{SECRET}", "https://host?…"),
        (f"https://host#{SECRET}", "https://host?…"),
        ("https://host/a@b", "https://host/a@b"),
        ("file:///data/x", "file:///data/x"),
        ("https://", "https://"),
    ],
)
def test_a_url_is_shown_without_login_and_query(url: str, shown: str) -> None:
    assert masked(url) == shown


async def said(monkeypatch: pytest.MonkeyPatch, answer: httpx2.Response | Exception, url: str = URL) -> Exception:
    """What a source says of a server that answers so to every request."""

    async def handle(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        del transport, request
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return ["192.0.2.1"]

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", handle)
    monkeypatch.setattr(https, "resolve", resolve)
    place = UriSource(url=url)
    source = FileSource(https.HttpsReader(place, Path(), "spec.source.uri"), place.format, "id", "spec.source.uri")
    with pytest.raises((InvalidSource, SourceUnreachable)) as refused:
        _ = [records async for records in source.records()]
    return refused.value


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx2.ConnectError("All connection attempts failed"), f"{SHOWN} cannot be reached: nothing answers there"),
        (httpx2.Response(401), f"{SHOWN} answered 401: a login is asked for, and https:// has none to give"),
        (httpx2.Response(206), f"{SHOWN} answered 206: a part of the file, though the whole was asked for"),
        (httpx2.Response(200, stream=httpx2.ByteStream(b"{}")), f"{SHOWN}: line 1: the field 'id'"),
        (
            httpx2.Response(302, headers={"location": URL.replace("https", "http")}),
            f"it leads to {SHOWN.replace('https', 'http')}, and only https:// is read",
        ),
    ],
)
async def test_nothing_of_a_login_is_in_what_is_said_of_a_source(
    answer: httpx2.Response | Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = str(await said(monkeypatch, answer))
    assert sentence in error
    assert SECRET not in error


async def test_a_part_of_a_file_is_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    error: Any = await said(monkeypatch, httpx2.Response(206))
    assert error.lasts


async def test_a_url_without_a_host_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    error = await said(monkeypatch, httpx2.Response(200), "https://")
    assert str(error).endswith("it has no host: write https://host/path")


def test_nothing_of_a_login_is_in_what_is_said_of_other_places() -> None:
    endpoint = f"http://user:{SECRET}@minio:9000"
    errors = [explain("s3://b/k", Location(url="s3://b/k", endpoint=endpoint), OSError("")).why]
    for call in (
        lambda: path_on_mount(f"file://user:{SECRET}@host/x", []),
        lambda: check_whole(f"s3://b/k?token={SECRET}", "spec.source.uri.url"),
        lambda: open_bucket(Location(url=f"s4://{SECRET}@b/k"), Path(), Path()),
    ):
        with pytest.raises(ConfigurationError) as refused:
            call()
        errors.append(str(refused.value))
    assert not [error for error in errors if SECRET in error or "://" not in error]


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({"url": URL}, "spec.source.uri.url: a URL must not hold a login (user:password@)"),
        ({"url": "s3://b/k", "endpoint": "http://user@minio"}, "spec.source.uri.endpoint: a URL must not hold a login"),
        ({"url": "https://"}, "spec.source.uri.url: source.uri.url has no host and no bucket: write https://host"),
        ({"url": "s3:///key"}, "spec.source.uri.url: source.uri.url has no host and no bucket"),
        ({"url": "https://:443/x"}, "spec.source.uri.url: source.uri.url has no host and no bucket"),
    ],
)
def test_a_url_with_a_login_or_without_a_host_is_refused_with_the_spec(place: dict[str, str], sentence: str) -> None:
    [complaint] = complaints(manifests.noop("m", {"uri": place}))
    assert complaint.startswith(sentence)
    assert SECRET not in complaint


@pytest.mark.parametrize("url", ["https://h/a@b", "https://h?mail=a@b", "https://[::1]:8443/x", "file:///data/a@b"])
def test_an_at_sign_behind_the_host_is_no_login(url: str) -> None:
    assert not complaints(manifests.noop("m", {"uri": {"url": url}}))


@pytest.mark.parametrize("key", ["in//x", "./x", "in/../x", "..", "in/%2E%2E/x", "in/a%0Ab"])
async def test_a_key_that_no_bucket_of_the_library_has_is_named_with_its_field(key: str, tmp_path: Path) -> None:
    url, references = f"s3://bucket/{key}", (tmp_path, tmp_path)
    said = "its key has an empty step, one that is . or .., or a control character: write a key such as a/b"
    with pytest.raises(InvalidSource) as refused:
        _ = [block async for block in BucketReader(Location(url=url), *references).blocks()]
    assert str(refused.value) == f"{url}: {said}"
    with pytest.raises(ConfigurationError, match=f"^spec.export.destination: {re.escape(url)}: its key has an empty"):
        open_files(Location(url=url), "run", "spec.export.destination", [], references)


@pytest.mark.parametrize(("path", "key"), [("", ""), ("/", ""), ("//a/b/", "a/b"), ("/a b/%C3%A4..", "a b/ä..")])
def test_slashes_around_a_key_are_not_of_it(path: str, key: str, tmp_path: Path) -> None:
    assert open_bucket(Location(url=f"s3://bucket{path}"), tmp_path, tmp_path).key == key


def test_an_authority_that_is_none_is_named_as_the_spec_names_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no PEM")
    bundle = {"name": "ca", "key": "ca.crt"}
    place = Location.model_validate({"url": "https://host/a", "caBundleRef": bundle})
    with pytest.raises(InvalidSource, match=r"spec.email.files.caBundleRef holds no PEM certificates"):
        https.HttpsReader(place, tmp_path, "spec.email.files")


def test_a_folder_has_no_query_and_what_was_written_there_is_told_to_nobody() -> None:
    place = Location.model_validate({"url": "https://host/files?sig=SECRET"})
    context: Any = None
    with pytest.raises(ConfigurationError, match=r"spec.email.files.url must not contain \? or #") as error:
        Folder(context, place, "spec.email.files", (Purpose.FILES_CREDENTIALS, Purpose.FILES_CA))
    assert "SECRET" not in str(error.value)


async def test_a_file_of_a_folder_is_in_memory_once(tmp_path: Path) -> None:
    size = 8 * 1024 * 1024
    (tmp_path / "big").write_bytes(bytes(size))
    volumes = [SimpleNamespace(mount_path=str(tmp_path))]
    spec = SimpleNamespace(worker=SimpleNamespace(volumes=volumes))
    context: Any = SimpleNamespace(run=SimpleNamespace(spec=spec), reference=lambda _: tmp_path)
    place = Location.model_validate({"url": f"file://{tmp_path}"})
    folder = Folder(context, place, "spec.email.files", (Purpose.FILES_CREDENTIALS, Purpose.FILES_CA))
    tracemalloc.start()
    try:
        body = await folder.read("big", size)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == size
    assert most < 1.5 * size
    with pytest.raises(ConfigurationError, match=r"big is larger than 8,388,607 bytes: make it smaller"):
        await folder.read("big", size - 1)
