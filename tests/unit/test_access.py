"""The token of our account, in a file that Kubernetes replaces."""

from pathlib import Path

import pytest

from batchjob.errors import ApiUnavailable
from batchjob.kube import Access


def test_a_token_that_cannot_be_read_for_a_moment_is_the_old_one(tmp_path: Path) -> None:
    """An error of the disk ends no copy and no lead."""
    file = tmp_path / "token"
    access = Access("https://127.0.0.1", token_file=file)
    with pytest.raises(ApiUnavailable, match="token"):
        access.token()
    file.write_text("first\n")
    assert access.token() == "first"
    file.unlink()
    access.forget_token()
    assert access.token() == "first"
    file.write_text("second\n")
    assert access.token() == "second"
