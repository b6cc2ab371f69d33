"""The processor that does nothing, and what it says of its parameters."""

from pathlib import Path

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.worker import ConfigurationError, Context
from batchjob_processors.noop import Noop


async def opened(folder: Path, params: dict[str, str]) -> None:
    spec = BatchJobSpec.model_validate(
        {
            "type": "custom",
            "source": {"items": [{"id": "a", "data": {}}]},
            "custom": {"processor": "noop", "params": params},
        }
    )
    run = Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))
    await Noop().open(Context(run, None, folder))  # type: ignore[arg-type]


@pytest.mark.parametrize("params", [{}, {"seconds": "0"}, {"seconds": "0.5"}])
async def test_it_can_be_told_how_long_an_item_takes(params: dict[str, str], tmp_path: Path) -> None:
    await opened(tmp_path, params)


async def test_a_parameter_that_it_does_not_know_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await opened(tmp_path, {"second": "1", "seconds": "0.5", "Seconds": "2"})
    assert str(refused.value) == ("spec.custom.params: this processor has no Seconds, second; what it has: seconds")


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1e999"])
async def test_a_time_that_is_none_ends_the_run(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"spec\.custom\.params\.seconds: .*, not '{text}'"):
        await opened(tmp_path, {"seconds": text})
