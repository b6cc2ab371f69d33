"""Destinations: in each store a file is there whole or not at all, and one that breaks off leaves nothing."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from batchjob.api.blocks.export import Destination
from batchjob.errors import ResultsError
from batchjob.files.bucket_files import PIECE_BYTES
from batchjob.files.files import READ_BYTES, Files, open_files
from tests.support.azure_blobs import AZURE_KEYS, azure_blobs
from tests.support.neighbours.client import Neighbours

S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# Without OAuth, for which there is no server here.
ACCOUNT = {"private_key": "none", "private_key_id": "none", "client_email": "a@example.com", "disable_oauth": True}
GOOGLE_KEYS = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(ACCOUNT)}


@pytest.fixture(params=["file", "s3", "gs", "az"])
def files(request: pytest.FixtureRequest, tmp_path: Path, neighbours: Neighbours) -> Iterator[Files]:
    """An empty destination. Google's is S3's stand-in, whose paths are the same; nobody looks at a signature."""
    keys = {"s3": S3_KEYS, "gs": GOOGLE_KEYS, "az": AZURE_KEYS}.get(request.param, {})
    for name, value in keys.items():
        (tmp_path / name).write_text(value)
    with azure_blobs() as blobs:
        port = blobs.server_port if request.param == "az" else neighbours.ports["s3"]
        place = {"url": f"{request.param}://batchjob/{tmp_path.name}", "endpoint": f"http://127.0.0.1:{port}"}
        if keys:
            place |= {"credentialsSecretRef": {"name": "login"}}  # type: ignore[dict-item]
        if request.param == "file":
            place = {"url": f"file://{tmp_path}/claim"}
        where = Destination.model_validate(place)
        yield open_files(where, "run", "spec.export.destination", [tmp_path], (tmp_path, tmp_path))


async def held(files: Files, neighbours: Neighbours, name: str) -> bytes | None:
    """What a file holds. The stand-in for Google takes files from whom it knows not, but hands none out."""
    if not files.url("").startswith("gs:"):
        return await files.get(name)
    return neighbours.get_object("batchjob", files.url(name).removeprefix("gs://batchjob/"))


async def pieces(*bodies: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for body in bodies:
        yield body
    if error is not None:
        raise error


async def test_a_file_is_written_replaced_read_listed_and_removed(files: Files, neighbours: Neighbours) -> None:
    assert (await files.names(), await files.get("a.csv")) == ([], None)
    await files.put("a.csv", b"one")
    await files.put("a.csv", b"two")
    await files.put("b ä.csv", b"")
    assert (await files.names(), await held(files, neighbours, "a.csv")) == (["a.csv", "b ä.csv"], b"two")
    await files.delete("a.csv")
    await files.delete("a.csv")
    assert await files.names() == ["b ä.csv"]


async def test_a_file_of_pieces_is_one_file(files: Files, neighbours: Neighbours) -> None:
    large = bytes(range(256)) * (PIECE_BYTES // 256)
    await files.write("large.csv", pieces(large, b"-", large, b"end"), size=2 * len(large))
    await files.write("small.csv", pieces(b"a", b"b"))
    assert await files.names() == ["large.csv", "small.csv"]
    assert await held(files, neighbours, "large.csv") == large + b"-" + large + b"end"
    assert await held(files, neighbours, "small.csv") == b"ab"


@pytest.mark.parametrize("files", ["file", "s3", "az"], indirect=True)  # see `held` for gs
async def test_a_file_is_read_in_pieces(files: Files) -> None:
    body = bytes(range(256)) * (3 * READ_BYTES // 256) + b"end"
    await files.write("large.csv", pieces(body))
    found = [piece async for piece in files.read("large.csv")]
    assert b"".join(found) == body
    assert max(map(len, found)) < 2 * READ_BYTES
    with pytest.raises(ResultsError, match=r"none\.csv"):
        await anext(files.read("none.csv"))


@pytest.mark.parametrize("error", [ValueError("not a number"), ResultsError("away"), TimeoutError("silent")])
async def test_pieces_that_break_off_leave_no_file_and_say_why(files: Files, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await files.write("large.csv", pieces(b"x" * PIECE_BYTES, b"y" * PIECE_BYTES, error=error))
    assert await files.names() == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_file_on_a_claim_and_its_folders_are_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """The store drops the results that are in it: a loss of power must not take the file's name away."""
    synced = list[Path]()

    def sync(number: int, before: Callable[[int], None] = os.fsync) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink())
        before(number)

    monkeypatch.setattr(os, "fsync", sync)
    where = Destination.model_validate({"url": f"file://{tmp_path}/claim"})
    files = open_files(where, "run", "spec.export.destination", [tmp_path], (tmp_path, tmp_path))
    if at_once:
        await files.put("a", b"1")
    else:
        await files.write("a", pieces(b"1"))
    folder = tmp_path / "claim" / "run"
    assert synced[:2] == [folder.parent, tmp_path], "folders that were made"
    assert synced[2].parent == folder
    assert synced[3:] == [folder], "once the file has its name"
