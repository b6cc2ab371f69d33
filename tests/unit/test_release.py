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

Package: python3
Status: install ok installed
Architecture: amd64
Version: 3.11.2-1+b1

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
        "pkg:deb/debian/python3@3.11.2-1%2Bb1?arch=amd64",
        "pkg:deb/debian/tini@0.19.0-1%2Bb3?arch=amd64",
        "pkg:pypi/batchjob@0.1.0",
        "pkg:pypi/yarl@1",
    ]
    assert found["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(found)) is None


def for_some(name: str, marker: str) -> dict[str, Any]:
    """A package of the lock that is for some platforms alone."""
    told = [{"name": "uv:package:marker", "value": marker}]
    return {
        "type": "library",
        "bom-ref": f"{name}@1",
        "name": name,
        "version": "1",
        "purl": f"pkg:pypi/{name}@1",
        "properties": told,
    }


def test_an_sbom_leaves_out_the_packages_that_are_for_other_platforms_and_what_only_they_need() -> None:
    packages = [
        for_some("tzdata", "sys_platform == 'win32'"),
        for_some("httpx2-jsfetch", "python_full_version >= '3.12' and sys_platform == 'emscripten'"),
        for_some("needed-by-jsfetch", "python_full_version >= '3.12' and sys_platform == 'emscripten'"),
        for_some("truststore", "sys_platform != 'emscripten'"),
        for_some("backports-zstd", "python_full_version < '3.14'"),
        for_some("newer", "python_full_version >= '3.12'"),
        for_some("cffi", "platform_python_implementation != 'PyPy'"),
    ]
    needs = [
        {"ref": PROJECT["bom-ref"], "dependsOn": [package["bom-ref"] for package in packages]},
        {"ref": "httpx2-jsfetch@1", "dependsOn": ["needed-by-jsfetch@1"]},
        {"ref": "needed-by-jsfetch@1"},
        {"ref": "cffi@1"},
    ]
    text = from_uv(serialNumber="urn:uuid:1", components=packages, dependencies=needs)
    found = build_sbom(text, DPKG, "batchjob/worker:0.1.0", "0.1.0", 0)
    pypi = [one["name"] for one in found["components"] if one["purl"].startswith("pkg:pypi/")]
    assert pypi == ["backports-zstd", "batchjob", "cffi", "truststore"]
    assert found["dependencies"] == [
        {"ref": PROJECT["bom-ref"], "dependsOn": ["truststore@1", "backports-zstd@1", "cffi@1"]},
        {"ref": "cffi@1"},
    ]
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(found)) is None
    newer = build_sbom(text, DPKG.replace("3.11.2-1", "3.14.0-1"), "batchjob/worker:0.1.0", "0.1.0", 0)
    pypi = [one["name"] for one in newer["components"] if one["purl"].startswith("pkg:pypi/")]
    assert pypi == ["batchjob", "cffi", "newer", "truststore"]


def test_an_image_whose_python_is_not_known_has_no_sbom() -> None:
    with pytest.raises(ReleaseError, match="no python3"):
        build_sbom(from_uv(serialNumber="urn:uuid:1"), DPKG.replace("python3", "perl"), "x", "0.1.0", 0)


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
