"""The hash of a build context: what changes an image changes it, and nothing else does."""

import json
import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.localcluster.archives import write_merged
from tests.localcluster.context import Ignore, content_hash, files
from tests.localcluster.places import REPOSITORY

RULES = [
    "# what a build sees",
    "*",
    "!pyproject.toml",
    "!operator",
    "!tests/support/neighbours",
    "**/__pycache__",
    "**/*.pyc",
]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in (
        "pyproject.toml",
        "secret.txt",
        "operator/batchjob/cli.py",
        "operator/batchjob/__pycache__/cli.cpython-311.pyc",
        "tests/support/neighbours/chat.py",
        "tests/unit/test_x.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("\n".join(RULES))
    return tmp_path


def test_a_context_holds_what_the_rules_let_in(context: Path) -> None:
    assert list(files(context)) == ["operator/batchjob/cli.py", "pyproject.toml", "tests/support/neighbours/chat.py"]


def test_without_rules_a_context_holds_everything(context: Path) -> None:
    (context / ".dockerignore").unlink()
    assert len(list(files(context))) == 6


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("anything", True),
        ("deep/down/anything", True),
        ("operator", False),
        ("operator/a/b.py", False),
        ("operators", True),
        ("operator/a/__pycache__", True),
        ("operator/a/__pycache__/b.txt", True),
        ("operator/x.pyc", True),
        ("tests/support", True),
        ("tests/support/neighbours/chat.py", False),
    ],
)
def test_the_last_matching_rule_decides(path: str, excluded: bool) -> None:
    assert Ignore(RULES).excludes(path) is excluded


def test_an_excluded_folder_is_entered_only_where_a_rule_lets_something_back_in() -> None:
    ignore = Ignore(RULES)
    assert ignore.may_hold("tests")
    assert ignore.may_hold("tests/support")
    assert not ignore.may_hold("tests/unit")
    assert not ignore.may_hold(".venv")


def test_content_name_mode_and_dockerfile_change_the_hash(context: Path) -> None:
    hashes = [content_hash(context, b"FROM scratch")]

    def note() -> None:
        hashes.append(content_hash(context, b"FROM scratch"))

    (context / "pyproject.toml").write_text("changed")
    note()
    (context / "operator/batchjob/cli.py").rename(context / "operator/batchjob/main.py")
    note()
    (context / "pyproject.toml").chmod(0o755)
    note()
    (context / "operator/link").symlink_to("batchjob")
    note()
    hashes.append(content_hash(context, b"FROM debian"))
    assert len(set(hashes)) == len(hashes)


def test_times_and_ignored_files_leave_the_hash_alone(context: Path) -> None:
    before = content_hash(context)
    os.utime(context / "pyproject.toml", (1, 1))
    (context / "secret.txt").write_text("other")
    (context / "tests/unit/test_y.py").write_text("new")
    assert content_hash(context) == before


def test_the_repository_lets_the_builds_see_sources_and_lock_and_no_tests() -> None:
    seen = set(files(REPOSITORY))
    assert {"pyproject.toml", "uv.lock", "README.md", "operator/batchjob/errors.py"} <= seen
    assert not [name for name in seen if name.startswith((".venv/", ".git/", "tests/unit/", "docs/"))]


def archive_of(folder: Path, image: str, layers: dict[str, bytes]) -> Path:
    """A docker archive as buildah writes it, links of the legacy format included."""
    file = folder / f"{image}.tar"
    manifest = [{"Config": f"{image}.json", "RepoTags": [image], "Layers": list(layers)}]
    members = {
        **layers,
        f"{image}.json": b"{}",
        "repositories": image.encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
        link = tarfile.TarInfo(f"{image}/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../base.tar"
        archive.addfile(link)
    return file


def test_merged_archives_hold_every_image_and_each_layer_once(tmp_path: Path) -> None:
    first = archive_of(tmp_path, "first", {"base.tar": b"base", "one.tar": b"one"})
    second = archive_of(tmp_path, "second", {"base.tar": b"base", "two.tar": b"two"})
    output = BytesIO()
    write_merged([first, second], output)
    with tarfile.open(fileobj=BytesIO(output.getvalue())) as merged:
        names = merged.getnames()
        manifest = json.loads(merged.extractfile("manifest.json").read())  # type: ignore[union-attr]  # it is a file
    assert sorted(names) == ["base.tar", "first.json", "manifest.json", "one.tar", "second.json", "two.tar"]
    assert [(image["RepoTags"], image["Layers"]) for image in manifest] == [
        (["first"], ["base.tar", "one.tar"]),
        (["second"], ["base.tar", "two.tar"]),
    ]
