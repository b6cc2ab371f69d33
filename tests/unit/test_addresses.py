"""Where a worker may reach: addresses, and paths on claims."""

import os
from pathlib import Path
from typing import Any

import pytest

from batchjob.api.blocks.export import Destination
from batchjob.api.defaults import effective
from batchjob.api.run import Purpose, Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.files.addresses import is_forbidden, refusal
from batchjob.files.mounts import path_on_mount
from batchjob.worker import Context
from batchjob.worker.sources.file import PathReader
from batchjob.worker.sources.opening import open_source

DATA = {"volumes": [{"claimName": "data", "mountPath": "/data"}]}


def run(**fields: Any) -> Run:
    spec = BatchJobSpec.model_validate(
        {"type": "custom", "source": {"items": [{"id": "a", "data": {}}]}, "custom": {"processor": "noop"}, **fields}
    )
    return Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("169.254.0.1", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.169.254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:a9fe:a9fe::", True),
        ("64:ff9b::808:808", False),
        ("fd00:ec2::254", True),
        ("fd00:ec2::23", True),
        ("fd20:ce::254", True),
        ("100.100.100.200", True),
        ("::ffff:100.100.100.200", True),
        ("168.63.129.16", True),
        ("100.100.100.201", False),
        ("::1", False),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
    ],
)
def test_link_local_and_metadata_addresses_are_forbidden_and_private_are_not(address: str, forbidden: bool) -> None:
    assert is_forbidden(address) is forbidden


def test_one_forbidden_address_among_several_is_enough() -> None:
    assert refusal("h", ["10.0.0.1"]) is None
    assert refusal("h", ["10.0.0.1", "169.254.169.254"]) == (
        "h is the link-local address 169.254.169.254, where workers may not go: name another host"
    )


def test_an_address_that_is_written_as_one_is_said_once() -> None:
    assert refusal("h", ["168.63.129.16"]) == (
        "h is the metadata address 168.63.129.16, where workers may not go: name another host"
    )
    said = refusal("169.254.169.254", ["169.254.169.254"])
    assert said == "169.254.169.254 is a link-local address, where workers may not go: name another host"


@pytest.mark.parametrize(
    "url", ["file:///data/../etc/passwd", "file://host/data/x", "file:///database/x", "s3://data/x"]
)
def test_a_path_beside_the_claims_is_refused(url: str, tmp_path: Path) -> None:
    mount = tmp_path / "data"
    mount.mkdir()
    with pytest.raises(ConfigurationError, match="not below a mount"):
        path_on_mount(url.replace("/data", str(mount)), [mount])
    assert path_on_mount(f"file://{mount}/a%20b", [mount]) == mount / "a b"


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


async def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for a writer
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(SourceUnreachable, match=f"{path} is no regular file: check the path") as refused:
            _ = [block async for block in PathReader(path, str(path)).blocks()]
        assert refused.value.lasts


async def test_a_claim_that_fails_in_the_middle_of_a_file_is_named() -> None:
    broken = PathReader(Path("/proc/self/mem"), "file:///data/items.jsonl")  # can be opened; a read is an EIO
    with pytest.raises(SourceUnreachable, match=r"file:///data/items.jsonl cannot be read: Input/output error"):
        _ = [block async for block in broken.blocks()]
