"""The fault table is written from the results and says nothing else."""

import json
from pathlib import Path

from tests.prove import table


def test_a_result_is_a_row_with_its_sums(tmp_path: Path) -> None:
    proof = {"name": "kills", "promise": "nothing is lost", "trials": 15, "seconds": 600}
    facts = {"kills": 1500, "missing": 0, "most_seconds": 1.5, "points": ["create/1", "create/2"]}
    result = {
        "part": "engine",
        "at": "2026-01-02T03:04:05+00:00",
        "commit": "0123456789abcdef",
        "machine": {"cpus": 2, "machine": "x86_64", "python": "3.11.7"},
        "proofs": [proof | {"facts": facts}],
    }
    (tmp_path / "engine.json").write_text(json.dumps(result))
    table.write(tmp_path)
    page = (tmp_path / table.NAME).read_text()
    assert "## engine, 2026-01-02" in page
    assert "Commit 0123456789ab, 2 cores, Python 3.11.7; 10 minutes." in page
    assert "| nothing is lost | kills | 15 | kills 1,500 · missing 0 · most seconds 1.5 |" in page


def test_the_table_that_is_kept_is_that_of_the_results_that_are_kept(tmp_path: Path) -> None:
    kept = Path(__file__).parents[2] / "docs" / "proof"
    for path in kept.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table.write(tmp_path)
    assert (kept / table.NAME).read_text() == (tmp_path / table.NAME).read_text()
