"""A processor of one's own, as worker-image/README.md says: its class, its image and its BatchJob, word for word."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.localcluster import provider
from tests.localcluster.context import content_hash
from tests.localcluster.images import Image
from tests.support.cluster_jobs import Jobs
from tests.support.installation import REPOSITORY
from tests.support.manifests import batch_job, destination, inline
from tests.support.neighbours.client import Neighbours

README: Final = (REPOSITORY / "worker-image" / "README.md").read_text()


def test_the_processor_of_the_readme_runs_in_the_image_of_the_readme(
    jobs: Jobs, neighbours: Neighbours, tmp_path: Path
) -> None:
    spec = yaml.safe_load(block("yaml"))["spec"]
    load_image(spec["worker"]["image"], tmp_path)
    results = {"results": {"destination": destination("own-image")}}
    source = inline(4)
    source["items"][2]["data"]["text"] = ""
    job = batch_job("own-image", "custom", source, spec["custom"], **results)
    job["spec"] |= spec
    jobs.apply(job)
    jobs.wait_condition("own-image", "Failed", "ItemsFailed")
    status = jobs.status("own-image")
    assert [(error["itemId"], error["message"]) for error in status["lastErrors"]] == [("i2", "the item has no text")]
    algorithm = spec["custom"]["params"]["algorithm"]
    assert rows(neighbours, status["results"]["uri"]) == [
        {"id": f"i{n}", "fingerprint": hashlib.new(algorithm, f"sentence {n}".encode()).hexdigest()} for n in (0, 1, 3)
    ]


def load_image(name: str, folder: Path) -> None:
    """Build the image from the files that the README shows, on the worker image of this checkout."""
    published = "FROM batchjob/worker:"
    dockerfile = re.sub(rf"{published}\S+", "FROM batchjob.local/worker:dev", block("dockerfile"))
    assert dockerfile != block("dockerfile")
    context = folder / "context"
    context.mkdir()
    (context / "fingerprint.py").write_text(block("python"))
    (context / "pyproject.toml").write_text(block("toml"))
    # Another worker image makes another one of this, too; outside of the context, so that what pip did stays cached.
    (folder / "Dockerfile").write_text(f"# on {content_hash(REPOSITORY)}\n{dockerfile}")
    provider().load([Image(f"docker.io/{name}", folder / "Dockerfile", context)])


def block(language: str) -> str:
    """The README's first block of that language."""
    found, *_ = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return str(found)


def rows(neighbours: Neighbours, uri: str) -> list[dict[str, Any]]:
    """Every row that the manifest vouches for."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    folder = key.rpartition("/")[0]
    parts = json.loads(neighbours.get_object(bucket, key))["parts"]
    bodies = [neighbours.get_object(bucket, f"{folder}/{part['name']}") for part in parts]
    return [json.loads(line) for body in bodies for line in body.splitlines()]
