"""Known vulnerabilities of what is locked, by pip-audit; what nobody knew of is said, and not taken for safe."""

import json
from typing import Any

from tests.release.version import ReleaseError


def judge(report: str) -> str:
    """A sentence about a report of `pip-audit --format json`; raises ReleaseError with what is vulnerable."""
    dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    vulnerable = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in dependencies
        for flaw in one.get("vulns", ())
    ]
    if vulnerable:
        raise ReleaseError("known vulnerabilities:\n" + "\n".join(vulnerable))
    skipped = [one for one in dependencies if "skip_reason" in one]
    if not skipped:
        return f"audited: {len(dependencies)} packages, none with a known vulnerability"
    return f"NOT AUDITED: {len(skipped)} of {len(dependencies)} packages, such as: {skipped[0]['skip_reason']}"
