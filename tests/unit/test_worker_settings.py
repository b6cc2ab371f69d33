"""What a worker is started with: its settings, and a processor that it can find and run."""

from pathlib import Path
from typing import Any

import pytest

from batchjob.core.items import Item
from batchjob.errors import ConfigurationError
from batchjob.local.processors import write_entry_points
from batchjob.worker import Context, Processor
from batchjob.worker.processor import make_processor
from batchjob.worker.settings import read_settings


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHJOB_PROBE_PORT", "http")
    with pytest.raises(ConfigurationError, match="BATCHJOB_PROBE_PORT"):
        read_settings()


def test_a_processor_that_the_image_does_not_have_is_named_with_its_field_and_those_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"^spec.custom.processor: .* no processor 'nope'; it has: .*noop"):
        make_processor("nope")


class Waiting(Processor):
    """An `async def`."""

    async def process(self, item: Item, context: Context) -> None:
        """Do nothing."""


@pytest.mark.parametrize(("place", "said"), [("process", "must be a plain `def`"), ("thred", "'thread' or 'process'")])
def test_a_processor_that_cannot_run_where_it_says_is_refused(
    place: Any, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_entry_points({"waiting": f"{__name__}:Waiting"}, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Waiting, "runs_in", place)
    with pytest.raises(ConfigurationError, match=f"^processor 'waiting': .*{said}"):
        make_processor("waiting")
