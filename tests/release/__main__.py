"""`python -m tests.release`: the files of a release in dist/<version>, and what was checked of them.

BASE=<image by digest>: what the images begin with, in the place of this machine's own. All is built from an export of
the commit: what is not committed is in none of it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.localcluster.debian import install_packages, require_linux_root
from tests.localcluster.errors import ClusterError
from tests.localcluster.images import Image
from tests.localcluster.locking import locked
from tests.localcluster.places import REPOSITORY, state_folder
from tests.localcluster.processes import run
from tests.localcluster.progress import say, step
from tests.localcluster.tools import helm
from tests.release.audit import judge
from tests.release.images import build_twice, images, look_into, pack
from tests.release.sbom import build_sbom
from tests.release.version import ReleaseError, agreed_version, notes

UV: Final = REPOSITORY / ".venv-tools" / "bin" / "uv"
LOCKED: Final = ("export", "--quiet", "--frozen", "--no-dev")


def main() -> int:
    """Build and check; 0 when everything that can be checked here holds."""
    try:
        with TemporaryDirectory() as folder:
            target = _release(Path(folder))
    except (ReleaseError, ClusterError) as error:
        say(str(error))
        return 1
    files = sorted(target.iterdir())
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (target / "SHA256SUMS").write_text(sums)
    print(f"{target}:\n{sums}", end="")
    return 0


@dataclass(frozen=True)
class Commit:
    """What is released: an export of a commit, its time, and its version."""

    source: Path
    time: int
    version: str

    def uv(self, *arguments: str | Path) -> str:
        """Run uv in it, with the commit's time for whatever has a time."""
        return run([UV, *arguments], cwd=self.source, env={"SOURCE_DATE_EPOCH": str(self.time)})


def _release(source: Path) -> Path:
    """The folder with all files; raises ReleaseError or ClusterError."""
    if run(["git", "status", "--porcelain"], cwd=REPOSITORY):
        say("what is not committed is left out")
    run(["bash", "-c", f"git archive HEAD | tar --extract --directory {source}"], cwd=REPOSITORY)
    time = int(run(["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY))
    commit = Commit(source, time, agreed_version(source))
    target = REPOSITORY / "dist" / commit.version
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _notes(target, commit)
    with step("wheel and sdist, built twice and installed"):
        _package(target, commit)
    with step("chart, packaged and rendered"):
        _chart(target, commit)
    _audit(commit)
    require_linux_root()
    with locked(state_folder()):  # the build store is the test cluster's
        install_packages()
        for image, extras in images(source, commit.version).items():
            _image(target, commit, image, extras)
    return target


def _notes(target: Path, commit: Commit) -> None:
    changelog = (commit.source / "CHANGELOG.md").read_text()
    text = notes(changelog, commit.version)
    if text is None:
        say(f"CHANGELOG.md has no section [{commit.version}]: the notes are [Unreleased]'s. To release, name it so.")
        text = notes(changelog, "Unreleased")
    if text is None:
        raise ReleaseError("CHANGELOG.md says nothing of what is new: neither of the version, nor below [Unreleased]")
    (target / "NOTES.md").write_text(text)


def _package(target: Path, commit: Commit) -> None:
    with TemporaryDirectory() as folder:
        again, fresh, locked_file = Path(folder, "again"), Path(folder, "fresh"), Path(folder, "locked.txt")
        for place in (target, again):
            commit.uv("build", "--quiet", "--out-dir", place)
        (target / ".gitignore").unlink()  # uv's
        for file in again.glob("batchjob-*"):
            if file.read_bytes() != (target / file.name).read_bytes():
                raise ReleaseError(f"{file.name} is not reproducible: built twice, its bytes differ")
        (wheel,) = target.glob("*.whl")
        locked_file.write_text(commit.uv(*LOCKED, "--no-emit-project", "--extra=cli", "--format", "requirements.txt"))
        commit.uv("venv", "--quiet", "--python", sys.executable, fresh)
        commit.uv("pip", "install", "--quiet", "--python", fresh, "--require-hashes", "--requirements", locked_file)
        commit.uv("pip", "install", "--quiet", "--python", fresh, "--no-deps", wheel)
        said = run([fresh / "bin" / "batchjob", "version"])
        if commit.version not in said.split():
            raise ReleaseError(f"the wheel says {said!r} of its version, which is {commit.version}")


def _chart(target: Path, commit: Commit) -> None:
    chart, packed = commit.source / "charts/batchjob-operator", target / f"batchjob-operator-{commit.version}.tgz"
    run([helm(), "package", chart, "--destination", target])
    run([helm(), "lint", "--strict", packed])
    if run([helm(), "template", "x", packed]) != run([helm(), "template", "x", chart]):
        raise ReleaseError(f"{packed.name} renders other objects than its folder: a file is missing in it")


def _audit(commit: Commit) -> None:
    command = [str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--progress-spinner=off"]
    with TemporaryDirectory() as folder, step("pip-audit of all that is locked"):
        locked_file = Path(folder, "locked.txt")
        locked_file.write_text(commit.uv(*LOCKED, "--all-extras", "--no-emit-project", "--format", "requirements.txt"))
        command += ["--format=json", "--requirement", str(locked_file)]
        # It ends with 1 where something is vulnerable, and says which on its output all the same.
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    say(judge(done.stdout) if done.stdout else f"NOT AUDITED: {done.stderr.strip().splitlines()[-1]}")


def _image(target: Path, commit: Commit, image: Image, extras: tuple[str, ...]) -> None:
    with step(f"{image.name}, built twice"):
        build_twice(image, os.environ.get("BASE", ""), commit.time)
    with step(f"{image.name}, looked into and packed"):
        python = commit.uv(*LOCKED, "--format", "cyclonedx1.5", *(f"--extra={extra}" for extra in extras))
        sbom = build_sbom(python, look_into(image, commit.version), image.name, commit.version, commit.time)
        (target / f"{image.file_name}.cdx.json").write_text(json.dumps(sbom, indent=1))
        pack(image, target / f"{image.file_name}.oci.tar")


if __name__ == "__main__":
    sys.exit(main())
