"""What a run has left at its destination: each part, row by row, against what the manifest says."""

import hashlib
import json
from pathlib import Path
from typing import Any

from batchjob.core.ranges import Ranges


def sealed_to(claim: Path) -> dict[str, Any]:
    """The fields of a spec whose results go to this folder, as if it were a claim."""
    return {
        "results": {"destination": {"url": f"file://{claim}/out"}},
        "worker": {"volumes": [{"claimName": "data", "mountPath": str(claim)}]},
    }


def files(place: Path) -> list[str]:
    """The names of all files that are there."""
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def read_rows(place: Path) -> list[tuple[int, dict[str, Any]]]:
    """Position and row of every result, in the order of the parts; everything that the manifest says is checked."""
    manifest = json.loads((place / "manifest.json").read_text())
    assert files(place) == ["manifest.json", *(part["name"] for part in manifest["parts"])]
    rows: list[tuple[int, dict[str, Any]]] = []
    for part in manifest["parts"]:
        body = (place / part["name"]).read_bytes()
        lines = body.splitlines()
        assert (len(lines), len(body)) == (part["rows"], part["bytes"])
        assert hashlib.sha256(body).hexdigest() == part["sha256"]
        positions = [p for first, last in Ranges(part["positions"]) for p in range(first, last + 1)]
        rows += zip(positions, map(json.loads, lines), strict=True)
    assert manifest["rows"] == len(rows)
    assert manifest["bytes"] == sum(part["bytes"] for part in manifest["parts"])
    return rows


def check_every_item(place: Path, items: int, manifest_sha256: str | None) -> int:
    """Each item of `i0`, `i1`, … has one row in one part, and the manifest is the one of that SHA-256; its parts."""
    body = (place / "manifest.json").read_bytes()
    assert hashlib.sha256(body).hexdigest() == manifest_sha256
    assert sorted((position, row["id"]) for position, row in read_rows(place)) == [(n, f"i{n}") for n in range(items)]
    return len(json.loads(body)["parts"])
