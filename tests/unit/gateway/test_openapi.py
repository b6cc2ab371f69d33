"""The description of the API says what the API does: every route, every body, every error."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from pydantic.json_schema import models_json_schema

from batchjob.api.queue import BatchQueueSpec
from batchjob.api.schedule import BatchScheduleSpec
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.gateway.annotator import build_body
from batchjob.gateway.app import ROUTERS
from batchjob.gateway.description import BODIES, LINES_OF
from batchjob.gateway.description_answers import build_schemas
from batchjob.gateway.description_refusals import slugs_of
from batchjob.gateway.problems import MEDIA_TYPE, NO_SUCH_METHOD, SLUGS, TYPES, Problem
from batchjob.gateway.queues import check_fields
from batchjob.gateway.schedules import build_schedule
from batchjob.gateway.splitting import Lines
from batchjob.gateway.submission import build_submission
from batchjob.gateway.uploads import LINES
from batchjob.gateway.views import JOBS
from tests.support.gateway import asking, build_gateway
from tests.support.gateway_world import RIGHTS

DOCUMENT: Final[dict[str, Any]] = build_gateway().openapi()
SORTED: Final = sorted(SLUGS, key=lambda slug: slug.status)
OPERATIONS: Final = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_every_route_but_the_probes_is_described() -> None:
    there = {
        (method.lower(), route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    assert {(method, path) for method, path, _ in OPERATIONS} == there
    assert len(there) > 10


async def test_it_is_served_as_openapi_31() -> None:
    async with asking(build_gateway()) as client:
        answer = await client.get("/openapi.json")
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["security"] == [{"bearer": []}]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_every_operation_has_an_example_of_all_it_answers_that_fits_its_schema(
    method: str, path: str, operation: Any
) -> None:
    assert operation["description"]
    responses = operation["responses"]
    assert {"401", "403", "429", "500", "503"} <= responses.keys()
    assert "404" in responses or "{" not in path
    assert ("413" in responses) == ("requestBody" in operation) == ((method, path) in BODIES)
    assert len([code for code in responses if code[0] == "2" and "content" in responses[code]]) == 1
    for code, answer in responses.items():
        assert ("content" in answer) == (code not in {"204", "304"})
        for media_type, content in answer.get("content", {}).items():
            assert (media_type == MEDIA_TYPE) == (int(code) >= 400)
            for name, example in examples_of(content).items():
                validator(content["schema"]).validate(example)
                assert int(code) < 400 or (example["status"], example["type"]) == (int(code), TYPES + name)


def examples_of(content: dict[str, Any]) -> dict[str, Any]:
    if "example" in content:
        return {"": content["example"]}
    found = {name: content["examples"][name]["$ref"].rpartition("/")[2] for name in content["examples"]}
    assert found
    return {name: DOCUMENT["components"]["examples"][there]["value"] for name, there in found.items()}


def test_every_type_of_problem_has_an_example_and_is_said_by_some_operation() -> None:
    assert list(DOCUMENT["components"]["examples"]) == [slug.name for slug in SLUGS]
    for example in DOCUMENT["components"]["examples"].values():
        validator({"$ref": "#/components/schemas/Problem"}).validate(example["value"])
        assert example["value"]["detail"]
    said = {slug for method, path, operation in OPERATIONS for slug in slugs_of(method, path, body=True)}
    assert set(SLUGS) - said == {NO_SUCH_METHOD}, "which is of a path, and of no operation"


def test_the_models_of_answers_do_not_hide_those_of_resources() -> None:
    models = (BatchJobSpec, BatchQueueSpec, BatchScheduleSpec)
    _, ours = models_json_schema([(model, "validation") for model in models])
    assert not build_schemas().keys() & ours["$defs"].keys()


@pytest.mark.parametrize(("place", "body"), BODIES.items(), ids=lambda value: str(value)[:60])
def test_the_example_of_a_body_fits_its_schema(place: tuple[str, str], body: tuple[Any, Any]) -> None:
    assert place
    schema, example = body
    whole = validator(schema)
    whole.check_schema(whole.schema)
    whole.validate(example)
    assert not whole.is_valid("a text")


def test_a_patch_of_a_queue_may_have_null_for_what_it_takes_away() -> None:
    whole = validator(BODIES["patch", "/api/v1/queues/{name}"][0])
    for patch in ({"limits": None, "allowedNamespaces": None}, {"limits": {"maxItems": None}}, {"kueue": None}):
        whole.validate(patch)
        check_fields(patch)
    for wrong in ({"rateLimits": [None]}, {"paused": "no"}, {"fairShare": {"weights": [{"owner": None}]}}):
        assert not whole.is_valid(wrong)
        with pytest.raises(Problem):
            check_fields(wrong)


def test_what_was_accepted_links_to_all_that_can_be_done_with_it() -> None:
    own = f"{JOBS}/{{job}}"
    rooms = {f"#/paths/{path.replace('/', '~1')}/{method}" for method, path, _ in OPERATIONS if path.startswith(own)}
    for place in (JOBS, "/api/ai-annotator/batch", f"{own}/redrive"):
        links = DOCUMENT["paths"][place]["post"]["responses"]["202"]["links"]
        assert {link["operationRef"] for link in links.values()} == rooms
        assert all(link["parameters"] == {"job": "$response.body#/jobId"} for link in links.values())


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "examples"):
        names = {part.partition('"')[0] for part in text.split(f"#/components/{kind}/")[1:]}
        assert names <= DOCUMENT["components"][kind].keys()
    assert "x-kubernetes" not in text


def test_the_examples_are_bodies_that_are_taken() -> None:
    jobs, annotator, schedules = (
        BODIES["post", path][1] for path in ("/api/v1/batch-jobs", "/api/ai-annotator/batch", "/api/v1/schedules")
    )
    assert build_submission(jobs, "alice", "team", "x").spec.ai_batch
    template = {"aiBatch": {"instructions": "x", "model": {"name": "m"}}}
    assert build_submission(build_body(annotator, template), "alice", "team", "x").spec.priority == 1
    manifest, _ = build_schedule(schedules, "alice", "team")
    assert manifest["spec"]["owner"] == "alice"


@pytest.mark.parametrize("path", LINES_OF)
def test_the_examples_of_lines_are_bodies_that_are_taken(path: str) -> None:
    splitter, text = Lines(), DOCUMENT["paths"][path]["post"]["requestBody"]["content"][LINES]["example"]
    pieces = [*splitter.feed(text.encode()), *splitter.finish()]
    body = {**splitter.fields, "items": [piece.value for piece in pieces]}
    if path != JOBS:
        body = build_body(body, {"aiBatch": {"instructions": "x", "model": {"name": "m"}}})
    assert build_submission(body, "alice", "team", "x").items == 2


def test_the_page_about_the_api_has_every_type_of_problem_and_every_right() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "how-to", "http-api.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", page, re.MULTILINE)
    assert [(int(status), name) for status, name in rows] == [(slug.status, slug.name) for slug in SORTED]
    block = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    listed = [rule | {"resourceNames": None} for rule in yaml.safe_load(block)["rules"]]
    assert listed == [{**rule, "resourceNames": None} for rule in RIGHTS], "as the tests run it"
