"""The version of this commit: every file that names it agrees, and the changelog says what is in it."""

import re
import tomllib
from pathlib import Path

import yaml

CHART = "charts/batchjob-operator/Chart.yaml"


class ReleaseError(Exception):
    """What is there is not fit for a release: a sentence for who wanted one."""


def agreed_version(repository: Path) -> str:
    """The version that the package and the chart name; raises ReleaseError where they differ."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((repository / CHART).read_text())
    named = {
        "pyproject.toml, project.version": project["version"],
        f"{CHART}, version": chart["version"],
        f"{CHART}, appVersion": chart["appVersion"],
    }
    if len(set(named.values())) > 1:
        raise ReleaseError(f"the versions differ: {'; '.join(f'{place}: {at}' for place, at in named.items())}")
    return str(chart["version"])


def notes(changelog: str, version: str) -> str | None:
    """The changelog's section of a version, without its heading; None where there is none, or an empty one."""
    sections = re.split(r"^## \[(.+?)\].*$", changelog, flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True)).get(version, "").strip()
    return f"{found}\n" if found else None
