"""The processor that does nothing, and what it says of its parameters."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.worker import ConfigurationError, Context
from batchjob_processors.noop import Noop


async def opened(folder: Path, params: dict[str, str]) -> list[object]:
    """Open it; returns the parameters that it warned of."""
    spec = BatchJobSpec.model_validate(
        {
            "type": "custom",
            "source": {"items": [{"id": "a", "data": {}}]},
            "custom": {"processor": "noop", "params": params},
        }
    )
    run = Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))
    with capture_logs() as logs:
        await Noop().open(Context(run, None, folder))  # type: ignore[arg-type]
    return [entry["param"] for entry in logs if entry["log_level"] == "warning"]


async def test_a_parameter_that_it_does_not_know_is_told_of(tmp_path: Path) -> None:
    assert await opened(tmp_path, {"second": "1", "seconds": "0.5", "Seconds": "2"}) == ["Seconds", "second"]
    assert await opened(tmp_path, {"seconds": "0"}) == []


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1e999"])
async def test_a_time_that_is_none_ends_the_run(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.custom\.params\.seconds is no number of seconds"):
        await opened(tmp_path, {"seconds": text})
