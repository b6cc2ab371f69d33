"""Which trials a run of `make prove` runs, and what it keeps."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.prove import __main__ as prover
from tests.prove import proof
from tests.prove.proof import Proof


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Of one proof of three trials, those that were run; its second does not hold at first."""
    run: list[int] = []

    def try_it(number: int, _: Path) -> dict[str, Any]:
        run.append(number)
        if run == [1, 2]:
            raise AssertionError("it did not hold")
        return {"looks": number}

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the folder of what did not hold is kept
    proofs = [Proof("sums", "sums are right", 3, try_it)]
    monkeypatch.setattr(proof, "proofs_of", lambda _: proofs)
    monkeypatch.setattr(prover, "at_once", lambda _: 1)
    monkeypatch.setattr(prover, "ProcessPoolExecutor", lambda workers, _: ThreadPoolExecutor(workers))
    return run


def test_a_trial_that_does_not_hold_is_told_and_the_others_are_run_and_kept(
    trials: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.jsonl"
    proofs = proof.proofs_of("any")
    assert prover.prove("any", proofs, state) == 1
    assert trials == [1, 2, 3]
    assert sorted(prover.read(state)["sums"]) == [1, 3]
    said = capsys.readouterr().out
    assert "it did not hold" in said
    assert "trial 2 of sums" in said, "the number, which makes the same trial again"
    assert prover.prove("any", proofs, state) == 0
    assert trials == [1, 2, 3, 2], "what was kept is not run again"
    assert prover.summary("any", proofs, prover.read(state))["proofs"][0]["facts"] == {"looks": 6}
