"""Every reason and every condition is reached by a test that looks for it.

Tests are read, not run: a name counts where it is in an `assert`, in a call that waits for it (`wait_condition`,
`wait_stalled`) or in the rows of a parametrized test. A word that is a phase or a condition as well, such as Running,
counts as a reason only where the call or the code says that it is one.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from batchjob.api.schedule import ScheduleConditionType
from batchjob.api.status import ConditionType, Phase
from batchjob.core.reasons import Reason
from tests.unit.test_house import REPOSITORY

CONTROLLER = REPOSITORY / "operator" / "batchjob" / "controller"
TIERS = ("cluster", "e2e", "store", "unit")
WAITS = {"wait_condition": (1, 2), "wait_stalled": (None, 1)}  # where the condition and the reason are
AMBIGUOUS = {str(word) for kinds in (Phase, ConditionType) for word in kinds}

Found = tuple[str, str]  # what it is said to be (condition, reason, or nothing) and the word


def looked_for(tree: ast.AST) -> Iterator[Found]:
    """What the tests of a file look for."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in WAITS:
                for kind, at in zip(("condition", "reason"), WAITS[name], strict=True):
                    if at is not None and at < len(node.args):
                        yield from ((kind, word) for word in words(node.args[at]))
                        yield from named(node.args[at])
            case ast.Assert():
                yield from (("", word) for word in words(node))
                yield from named(node)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                for decorator in node.decorator_list:
                    yield from (("", word) for word in words(decorator))
                    yield from named(decorator)


def words(node: ast.AST) -> Iterator[str]:
    """Every string in it."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def named(node: ast.AST) -> Iterator[Found]:
    """Every member of our enumerations in it."""
    kinds = {"Reason": ("reason", Reason), "ConditionType": ("condition", ConditionType)}
    kinds |= {"ScheduleConditionType": ("condition", ScheduleConditionType)}
    for inner in ast.walk(node):
        match inner:
            case ast.Attribute(value=ast.Name(id=name), attr=member) if name in kinds:
                kind, members = kinds[name]
                if member in members.__members__:
                    yield kind, str(members[member])


@cache
def found() -> frozenset[Found]:
    """What all tests look for."""
    files = (path for tier in TIERS for path in (REPOSITORY / "tests" / tier).rglob("test_*.py"))
    others = (path for path in files if path != Path(__file__))
    return frozenset(one for path in others for one in looked_for(ast.parse(path.read_text("utf-8"))))


def test_every_reason_is_looked_for_by_a_test() -> None:
    reached = {word for kind, word in found() if kind == "reason" or (not kind and word not in AMBIGUOUS)}
    assert [str(reason) for reason in Reason if reason not in reached] == []


def test_every_condition_is_looked_for_by_a_test() -> None:
    reached = {word for kind, word in found() if kind == "condition"}
    assert [
        str(kind) for kinds in (ConditionType, ScheduleConditionType) for kind in kinds if kind not in reached
    ] == []


def test_every_event_is_listed_by_its_reason_and_looked_for_by_a_test() -> None:
    """Those that do not come of a condition: their reasons stand where the code makes them."""
    listed = (REPOSITORY / "docs" / "reference" / "conditions.md").read_text("utf-8").partition("## Events")[2]
    made = {reason for path in CONTROLLER.glob("*.py") for reason in noted(ast.parse(path.read_text("utf-8")))}
    assert made, "the code has another shape than this test reads"
    reached = {word for _, word in found()}
    assert {reason for reason in made if f"`{reason}`" not in listed or reason not in reached} == set()


def noted(tree: ast.AST) -> Iterator[str]:
    """Reasons of the Notes that are made."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("Note"), args=[_, ast.Attribute(ast.Name("Reason"), attr=member), *_]):
                yield str(Reason[member])


def test_a_word_elsewhere_in_a_test_does_not_count() -> None:
    text = """
def test_that_only_sets_the_stage() -> None:
    world.say("StoreFull")
    jobs.wait_phase("a", "Running")
    assert status.phase == "Running"
    jobs.wait_condition("a", "Queued", "OwnerLimit")
    assert Reason.LOADING in told
"""
    assert set(looked_for(ast.parse(text))) == {
        *(("", "Running"), ("condition", "Queued"), ("reason", "OwnerLimit"), ("reason", "Loading"))
    }
