"""From lines sent over HTTP to items that are done: the operator and real workers read what a gateway has staged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.gateway_world import World, bearer
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.staging_bucket import KEY, SECRET, Bucket

ITEMS: Final = 2000


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


@pytest.fixture
def bucket(neighbours: Neighbours, tmp_path: Path) -> Bucket:
    return Bucket(neighbours, tmp_path)


@pytest.mark.usefixtures("operator", "pods")
async def test_a_run_waits_for_the_secret_of_its_namespace_and_then_does_all_that_was_sent(
    world: World, bucket: Bucket, jobs: Jobs
) -> None:
    fields = {"type": "custom", "custom": {"processor": "noop"}}
    items = [{"id": f"i{place}", "data": {"id": place, "text": "word " * 20}} for place in range(ITEMS)]
    body = "".join(json.dumps(line) + "\n" for line in (fields, *items))
    namespace = jobs.kubectl.namespace
    async with world.gateway(default_namespace=namespace, **bucket.settings) as client:
        headers = {**bearer("alice"), "Content-Type": "application/x-ndjson"}
        answer = await client.post("/api/v1/batch-jobs", content=body, headers=headers)
        assert answer.status_code == 202, answer.text
    name = answer.json()["jobId"].removeprefix(f"{namespace}.")
    condition = jobs.wait_condition(name, "Stalled", "SecretNotFound")
    assert f"there is no Secret {SECRET} in namespace {namespace}" in condition["message"]
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}
    jobs.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys})
    jobs.wait_phase(name, "Succeeded")
    assert jobs.status(name)["counts"]["succeeded"] == ITEMS
