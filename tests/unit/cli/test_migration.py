"""`batchjob migrate bullmq` without a queue: what is written, and what of a job is refused (more in tests/store)."""

from pathlib import Path
from typing import Any

import pytest

from batchjob.cli.bullmq import Job, _job
from batchjob.cli.exits import Refused
from batchjob.cli.migrate import _with_file
from tests.support.manifests import noop

URL = "s3://b/letters.jsonl"
JOBS = [Job("1", "mail", {"text": "f\u00fcr dich"})]


def template(**spec: Any) -> dict[str, Any]:
    body = noop("letters", {}, **spec)
    del body["spec"]["source"]
    return body


def test_a_template_that_is_refused_leaves_no_file_in_the_way_of_the_next_try(tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    with pytest.raises(Refused, match=r"this would be no BatchJob:\n  spec.parallelism"):
        _with_file(template(parallelism=-1), JOBS, file, URL)
    assert list(tmp_path.iterdir()) == []
    [made] = _with_file(template(), JOBS, file, URL)
    assert made["spec"]["source"] == {"uri": {"url": URL, "format": "items"}}
    assert file.read_text("utf-8") == '{"id": "1", "data": {"text": "f\u00fcr dich"}}\n'
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(Refused, match="is there already: name another file"):
        _with_file(template(), JOBS, file, URL)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for file in (tmp_path / "nowhere" / "letters.jsonl", tmp_path / "file" / "letters.jsonl"):
        with pytest.raises(Refused, match=f"{file} cannot be written: "):
            _with_file(template(), JOBS, file, URL)


@pytest.mark.parametrize("data", [rb'{"t": "ab\ud83d"}', rb'{"a\ude00b": 1}', rb'"\ud83d\ud83d"', b'["\xed\xa0\xbd"]'])
def test_data_with_half_an_emoji_is_refused_by_the_id_of_its_job(data: bytes) -> None:
    with pytest.raises(Refused, match=r"^the job of-my-own\\x1b: its data has half a character") as refused:
        _job(b"of-my-own\x1b", 0, b"mail", data)
    assert "mend or remove the job" in str(refused.value)


def test_a_whole_emoji_comes_over() -> None:
    assert _job(b"1", 0, b"mail", rb'{"t": "\ud83d\ude00"}').data == {"t": "\U0001f600"}
