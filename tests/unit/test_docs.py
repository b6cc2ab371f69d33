"""The docs: every link leads somewhere, every page is led to, and what they show is as the product has it."""

import ast
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.pages import REPOSITORY, anchors, blocks, links, pages

PAGES: Final = pages()
START: Final = Path("README.md")
CLI: Final = Path("docs/reference/cli.md")
PROGRAMS: Final = ("batchjob ", "curl ", "helm ", "kubectl ", "make ", "pip ", "python3 ", "source ")


def target(page: Path, link: str) -> Path:
    """The file that a relative link of a page names, relative to the repository."""
    path = urlsplit(link).path
    return (REPOSITORY / page.parent / path).resolve().relative_to(REPOSITORY) if path else page


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_within_the_repository_leads_to_a_file_and_a_heading(page: Path) -> None:
    lost = []
    for link in links(page):
        if urlsplit(link).scheme:
            continue
        found, fragment = target(page, link), urlsplit(link).fragment
        if not (REPOSITORY / found).exists() or (fragment and fragment not in anchors(found)):
            lost.append(link)
    assert lost == []


def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    seen, ahead = set[Path](), {START}
    while ahead:
        page = ahead.pop()
        seen.add(page)
        found = {target(page, link) for link in links(page) if not urlsplit(link).scheme}
        folders = {one for one in found if (REPOSITORY / one).is_dir()}
        found |= {page for page in PAGES if page.parent in folders}
        ahead |= {one for one in found if one.suffix == ".md"} - seen
    assert [str(page) for page in PAGES if page not in seen and page.parts[0] in {"docs", "charts"}] == []


def test_every_test_that_the_table_of_faults_names_is_there() -> None:
    named = re.findall(r"`([a-z0-9_/]+\.py)::(test_\w+)`", (REPOSITORY / "docs/reference/faults.md").read_text())
    assert len(named) > 20
    text = {path: (REPOSITORY / "tests" / path).read_text() for path, _ in named}
    assert [f"{path}::{name}" for path, name in named if f"def {name}(" not in text[path]] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_yaml_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            documents: list[Any] = list(yaml.safe_load_all(block.text))
            assert documents, f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_python_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, f"{page}:{block.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", [page for page in PAGES if page != CLI], ids=str)
def test_what_people_may_type_is_marked_so_that_it_is_typed_by_a_test(page: Path) -> None:
    """tests/e2e/test_docs.py types what is marked as `sh`. The page of commands shows their form, not what to type."""
    found = [block for block in blocks(page) if block.language != "sh" and block.text.startswith(PROGRAMS)]
    assert [f"{page}:{block.line}: begin it with ```sh" for block in found] == []
