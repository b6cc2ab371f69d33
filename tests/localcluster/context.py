"""What a build would see: the files of a context that .dockerignore lets through, and one hash of them all.

The hash decides whether an image has to be built again. It covers names, modes and contents, not times: a fresh
clone of the same commit has the same hash.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath


class Ignore:
    """The rules of a .dockerignore file: the last that matches a path, or a folder above it, decides."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Parse the file's lines; comments and empty lines say nothing."""
        rules = [line.strip() for line in lines]
        self._rules = [_Rule(line) for line in rules if line and not line.startswith("#")]

    def excludes(self, path: str) -> bool:
        """Whether the build does not see `path` (relative to the context, with slashes)."""
        excluded = False
        for rule in self._rules:
            if rule.matches(path):
                excluded = not rule.readmits
        return excluded

    def may_hold(self, folder: str) -> bool:
        """Whether something below an excluded folder may still be let in."""
        return any(
            rule.readmits and (rule.pattern.startswith("**") or rule.pattern.startswith(f"{folder}/"))
            for rule in self._rules
        )


class _Rule:
    """One line: a pattern, or with a leading `!` one that lets back in what an earlier line excluded."""

    def __init__(self, line: str) -> None:
        self.readmits = line.startswith("!")
        self.pattern = line.removeprefix("!").strip("/")
        # A pattern matches the path itself or any folder above it.
        self._regex = re.compile(f"{_translate(self.pattern)}(/.*)?")

    def matches(self, path: str) -> bool:
        return self._regex.fullmatch(path) is not None


def files(root: Path) -> Iterator[str]:
    """The files of the context `root`, in order, relative to it."""
    rules = root / ".dockerignore"
    ignore = Ignore(rules.read_text().splitlines() if rules.exists() else ())
    yield from sorted(_walk(root, "", ignore))


def content_hash(root: Path, *extra: bytes) -> str:
    """One hash of all that a build in `root` depends on; `extra` is what lies outside of the context."""
    digest = hashlib.sha256()
    for part in extra:
        digest.update(hashlib.sha256(part).digest())
    for name in files(root):
        path = root / name
        mode = "link" if path.is_symlink() else "program" if os.access(path, os.X_OK) else "file"
        content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
        digest.update(f"{mode} {name}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _walk(root: Path, folder: str, ignore: Ignore) -> Iterator[str]:
    for entry in os.scandir(root / folder):
        name = str(PurePosixPath(folder, entry.name))
        if entry.is_dir(follow_symlinks=False):
            if not ignore.excludes(name) or ignore.may_hold(name):
                yield from _walk(root, name, ignore)
        elif not ignore.excludes(name):
            yield name


def _translate(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meaning.get(part, re.escape(part)) for part in parts)
