"""What `make release` says of a release: versions, notes, contents, vulnerabilities."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.release.audit import judge
from tests.release.sbom import build_sbom
from tests.release.version import CHART, ReleaseError, agreed_version, notes

CHANGELOG: Final = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-01-02

### Added

- Two.

## [0.1.0] - 2026-01-01

- One.
"""
DPKG: Final = """\
Package: tini
Status: install ok installed
Architecture: amd64
Version: 0.19.0-1+b3
Description: tiny but valid init
 for containers

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
PROJECT: Final = {"type": "library", "bom-ref": "batchjob-1@0.1.0", "name": "batchjob", "version": "0.1.0"}


def from_uv(**more: Any) -> str:
    """As `uv export --format cyclonedx1.5` writes it."""
    library = {"type": "library", "bom-ref": "yarl-2@1", "name": "yarl", "version": "1", "purl": "pkg:pypi/yarl@1"}
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"timestamp": "2026-01-01T00:00:00.5Z", "component": PROJECT},
            "components": [library],
            "dependencies": [{"ref": PROJECT["bom-ref"], "dependsOn": [library["bom-ref"]]}],
        }
        | more
    )


def test_a_version_that_one_file_has_alone_is_named_with_that_file(tmp_path: Path) -> None:
    (tmp_path / CHART).parent.mkdir(parents=True)
    (tmp_path / CHART).write_text("{version: 0.2.0, appVersion: 0.1.0}")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"')
    with pytest.raises(ReleaseError, match=r"appVersion: 0\.1\.0"):
        agreed_version(tmp_path)


@pytest.mark.parametrize(
    ("version", "text"),
    [("0.2.0", "### Added\n\n- Two.\n"), ("0.1.0", "- One.\n"), ("Unreleased", None), ("0.3.0", None)],
)
def test_the_notes_are_the_versions_section(version: str, text: str | None) -> None:
    assert notes(CHANGELOG, version) == text


def test_an_sbom_has_what_python_and_what_debian_installed_and_is_valid() -> None:
    found = build_sbom(from_uv(serialNumber="urn:uuid:1"), DPKG, "batchjob/worker:0.1.0", "0.1.0", 1_767_225_600)
    assert [component["purl"] for component in found["components"]] == [
        "pkg:deb/debian/tini@0.19.0-1%2Bb3?arch=amd64",
        "pkg:pypi/batchjob@0.1.0",
        "pkg:pypi/yarl@1",
    ]
    assert found["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(found)) is None


def test_the_sbom_of_the_same_image_is_the_same() -> None:
    def made(serial: str, dpkg: str) -> dict[str, Any]:
        return build_sbom(from_uv(serialNumber=serial), dpkg, "batchjob/worker:0.1.0", "0.1.0", 0)

    assert made("urn:uuid:1", DPKG) == made("urn:uuid:2", DPKG)
    assert made("urn:uuid:1", DPKG)["serialNumber"] != made("urn:uuid:1", DPKG.replace("b3", "b4"))["serialNumber"]


def test_an_audit_is_held_up_by_a_vulnerability_and_says_what_nobody_could_judge() -> None:
    def report(*dependencies: dict[str, Any]) -> str:
        return json.dumps({"dependencies": dependencies, "fixes": []})

    fine: dict[str, Any] = {"name": "yarl", "version": "1", "vulns": []}
    flawed = fine | {"vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": ""}]}
    unknown = {"name": "kopf", "skip_reason": "not found"}
    assert judge(report(fine)) == "audited: 1 packages, none with a known vulnerability"
    assert judge(report(fine, unknown)) == "NOT AUDITED: 1 of 2 packages, such as: not found"
    with pytest.raises(ReleaseError, match=r"yarl 1: PYSEC-1, mended in 2"):
        judge(report(unknown, flawed))
