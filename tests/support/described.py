"""Holds what a gateway really answers against its OpenAPI document: status, media type, problem and shape.

The document lists every field that is sent: one that it does not know fails the test that met it.
"""

import json
import re
from typing import Any, Final

import httpx2
from jsonschema import Draft202012Validator

from batchjob.gateway.description_answers import build_schemas
from batchjob.gateway.problems import MEDIA_TYPE, TYPES

Json = dict[str, Any]


def _closed(schema: Json) -> Json:
    return {**schema, "additionalProperties": False}


class Described:
    """A document, and what is held against it."""

    def __init__(self, document: Json) -> None:
        self._components: Final = {
            **document["components"],
            "schemas": document["components"]["schemas"]
            | {name: _closed(document["components"]["schemas"][name]) for name in build_schemas()},
        }
        self._paths: Final = {
            re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): methods for path, methods in document["paths"].items()
        }

    async def check(self, response: httpx2.Response) -> None:
        """An AssertionError or a ValidationError where an answer is none that is described."""
        path, method = response.request.url.raw_path.decode().partition("?")[0], response.request.method.lower()
        methods: Json = next((found for pattern, found in self._paths.items() if pattern.fullmatch(path)), {})
        if method not in methods:
            return
        answers = methods[method]["responses"]
        where = f"{method} {path}: {response.status_code}"
        assert str(response.status_code) in answers, f"{where} is not described"
        contents: Json = answers[str(response.status_code)].get("content", {})
        body = await response.aread()
        media_type = response.headers.get("content-type", "").partition(";")[0]
        assert (media_type in contents) or not (body or contents), f"{where} with {media_type} is not described"
        if media_type == "text/event-stream" or not contents:
            return
        for line in body.splitlines() if media_type == "application/x-ndjson" else [body]:
            found = json.loads(line)
            self.validator(contents[media_type]["schema"]).validate(found)
            if media_type == MEDIA_TYPE:
                slug = found["type"].removeprefix(TYPES)
                assert slug in contents[media_type]["examples"], f"{where} with {slug} is not described"

    def validator(self, schema: Json) -> Draft202012Validator:
        """Of a schema of the document."""
        return Draft202012Validator({**schema, "components": self._components})
