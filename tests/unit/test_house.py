"""The house keeps its own law: layout, sizes, and docs that say what the code says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo

from batchjob import errors
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.settings import Settings
from batchjob.core.phases import CONDITIONS
from batchjob.core.reasons import Reason
from batchjob.gateway.settings import GatewaySettings
from batchjob.store.settings import PREFIX, StoreSettings
from batchjob.worker import Processor
from tests.release.version import agreed_version

REPOSITORY = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", ".venv-tools", "node_modules"}
MAX_LINES, MAX_TEST_LINES = 300, 500
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def found(pattern: str) -> list[Path]:
    paths = (path for path in REPOSITORY.rglob(pattern) if path.is_file())
    return sorted(path for path in paths if not SKIPPED & set(path.relative_to(REPOSITORY).parts))


def text(*parts: str) -> str:
    return REPOSITORY.joinpath(*parts).read_text("utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its header; backticks removed."""
    below = page.split(f"{heading}\n", 1)[1]
    lines = re.search(r"^\|.*?(?=\n\n|\Z)", below, re.DOTALL | re.MULTILINE)
    assert lines, heading
    rows = lines.group().splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def test_the_source_root_does_not_hide_the_standard_library() -> None:
    assert not (REPOSITORY / "operator" / "__init__.py").exists()


def test_no_page_holds_more_than_one_subject() -> None:
    long = {}
    for path in found("*.py"):
        lines = len(path.read_text("utf-8").splitlines())
        if lines > (MAX_TEST_LINES if "tests" in path.parts else MAX_LINES):
            long[path.relative_to(REPOSITORY).as_posix()] = lines
    assert long == {}


def test_no_module_is_a_drawer_for_things_without_a_name() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert [path for path in found("*.py") if path.stem in drawers] == []


def test_every_module_of_the_product_says_what_it_is() -> None:
    silent = [
        path
        for root in ("operator", "worker-image")
        for path in (REPOSITORY / root).rglob("*.py")
        if not path.read_text("utf-8").startswith('"""')
    ]
    assert silent == []


def test_the_drawn_tree_of_errors_is_the_tree_of_errors() -> None:
    drawn, above = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        if name := re.match(r"([│├└─ ]*)(\w+Error\b|(?<=[├└]── )\w+)", line):
            depth = len(name[1]) // 4
            above[depth] = name[2]
            drawn[name[2]] = above.get(depth - 1, "Exception")
    made = {kind.__name__: kind.__mro__[1].__name__ for kind in vars(errors).values() if isinstance(kind, type)}
    assert drawn == made


def test_the_readme_names_the_two_commands_and_ci_runs_the_second() -> None:
    assert "make demo " in text("README.md")
    assert "make test " in text("README.md")
    assert text(".ci", "run").rstrip().endswith("make test")


def test_every_make_target_explains_itself() -> None:
    makefile = text("Makefile")
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE) for name in line.split()}
    explained = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    assert phony - explained - {"redis-server", "postgresql", "chromium", "promtool"} == set()


def test_chart_distribution_and_changelog_agree_on_the_version() -> None:
    version = agreed_version(REPOSITORY)
    assert "## [Unreleased]" in text("CHANGELOG.md") or f"## [{version}]" in text("CHANGELOG.md")
    assert f"Version {version}," in text("README.md")


def test_the_table_of_conditions_is_the_one_in_the_code() -> None:
    rows = table(text("docs", "reference", "conditions.md"), "## The conditions of each phase")
    documented = {
        (phase, stalled == "yes"): frozenset() if names == "none" else frozenset(names.split(", "))
        for phase, stalled, names in rows
    }
    assert documented == {key: frozenset(map(str, names)) for key, names in CONDITIONS.items()}


def test_every_reason_is_explained() -> None:
    rows = table(text("docs", "reference", "conditions.md"), "## Reasons")
    assert [row[0] for row in rows] == list(Reason)


def test_each_trap_of_kopf_has_a_row_and_a_test() -> None:
    page = text("docs", "decisions", "0007-kopf-watches-and-nothing-more.md")
    traps = [row[0] for row in table(page, "and writes the status once.")]
    assert traps == [f"T{number}" for number in range(1, 11)]
    named = re.findall(r"^def test_(t\d+)_", text("tests", "cluster", "test_traps.py"), re.MULTILINE)
    assert list(dict.fromkeys(named)) == [trap.lower() for trap in traps], "in this order"


@pytest.mark.parametrize(("process", "settings"), [("operator", Settings), ("gateway", GatewaySettings)])
def test_every_setting_is_documented_with_its_default(process: str, settings: type[StoreSettings]) -> None:
    rows = table(text("docs", "reference", "settings.md"), f"# Settings of the {process}")
    assert rows == [
        [f"{PREFIX}{name.upper()}", default(field), field.description] for name, field in settings.model_fields.items()
    ]
    others = {name for one in (Settings, GatewaySettings) for name in one.model_fields if "_" in name}
    assert [row for row in rows if others & set(re.findall(r"\b[a-z_]+\b", row[2]))] == [], "the variable's own name"


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default_factory is not None:
        return "the host's name"
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return "" if field.default is None else str(field.default)


@pytest.mark.parametrize(("number", "name"), [(0, "Fingerprint"), (1, "Convert")])
def test_a_processor_in_the_docs_is_a_processor(number: int, name: str) -> None:
    block = PYTHON_BLOCK.findall(text("worker-image", "README.md"))[number]
    names: dict[str, Any] = {}
    exec(block, names)  # our own docs
    assert issubclass(names[name], Processor)
    assert len(block.splitlines()) <= 15


def test_every_batchjob_in_the_docs_fits_the_models() -> None:
    blocks = re.findall(r"^```yaml\n(apiVersion: batchjob.dev.*?)^```", text("README.md"), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        BatchJob.parse(yaml.safe_load(block))
