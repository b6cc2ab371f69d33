"""What is asked of buildah, told by a program of its name whose store is a file with the names in it."""

from pathlib import Path
from typing import Final

import pytest

from tests.localcluster.images import BASE, BASE_RECIPE, Image, build, named

BUILDAH: Final = """#!/bin/sh
while [ "${{1#--}}" != "$1" ]; do shift 2; done
echo "$*" >> "{folder}/calls"
for last; do :; done
case "$1" in
images) grep -xF "${{last#reference=}}" "{folder}/store" || true ;;
bud) while [ "$1" != --iidfile ]; do shift; done; echo sha256:0123456789abcdef > "$2"; echo "$4" >> "{folder}/store" ;;
push) archive="${{last#docker-archive:}}"; touch "${{archive%%:*}}" ;;
pull) echo batchjob.local/worker:dev >> "{folder}/store" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "buildah"
    program.write_text(BUILDAH.format(folder=tmp_path))
    program.chmod(0o755)
    recipe = tmp_path / "batchjob" / "images" / "base.recipe"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(repr(BASE_RECIPE))
    (tmp_path / "store").write_text(f"{BASE}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def calls(folder: Path, *verbs: str) -> list[str]:
    made = (folder / "calls").read_text().splitlines()
    return [call for call in made if call.startswith(verbs)]


def test_an_image_is_made_from_the_worker_image_though_the_builders_store_lost_it(folder: Path) -> None:
    (worker,) = named(["worker"])
    archive = build(worker).archive
    (folder / "store").write_text(f"{BASE}\n")
    (folder / "context").mkdir()
    (folder / "Dockerfile").write_text(f"FROM {worker.name}\n")
    build(Image("example/my-worker:1.0.0", folder / "Dockerfile", folder / "context"))
    assert [call.split()[0] for call in calls(folder, "bud", "pull")] == ["bud", "pull", "bud"]
    assert calls(folder, "pull") == [f"pull --quiet docker-archive:{archive}"]


def test_the_worker_image_is_built_before_what_is_made_from_it(folder: Path) -> None:
    (chaos,) = named(["chaos"])
    build(chaos)
    assert [call.split("--tag ")[1].split()[0] for call in calls(folder, "bud")] == [
        "batchjob.local/worker:dev",
        chaos.name,
    ]
    assert calls(folder, "pull") == []


def test_a_variant_is_built_where_it_is_named_only(folder: Path) -> None:
    (parquet,) = named(["worker-parquet"])
    assert parquet not in named([])
    built = build(parquet)
    [call] = calls(folder, "bud")
    assert "--build-arg EXTRA=parquet" in call
    (worker,) = named(["worker"])
    assert build(worker).key != built.key
    assert "--build-arg" not in calls(folder, "bud")[-1]
