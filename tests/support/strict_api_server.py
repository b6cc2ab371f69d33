"""A stand-in for the API server that holds objects of our kinds, and refuses what the schemas of our CRDs do.

It checks shapes, bounds and fields that do not exist, keys that are there twice, names and labels; of the CRDs' rules
over several fields, that one about items alone. A test takes `snapshot`s to say that nothing was made or changed.
"""

import re
from copy import deepcopy
from functools import cache
from typing import Any, Final

import yaml
from aiohttp import web
from jsonschema import Draft202012Validator, ValidationError

from tests.support.crds import CRDS
from tests.support.live_gateway import ApiServer

Json = dict[str, Any]

GROUP: Final = "/apis/batchjob.dev/v1alpha1"
PLURALS: Final = ("batchjobs", "batchschedules", "batchqueues")
INTEGERS: Final = range(-(2**63), 2**63)  # of JSON, as the API server reads it
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LABEL_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def _closed(schema: Any) -> Any:
    """A schema of a CRD as JSON Schema: a field that it does not name is refused, as by strict validation."""
    if isinstance(schema, list):
        return [_closed(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(child) for name, child in schema.items() if not name.startswith("x-")}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if schema.get("nullable") is True and "type" in found:
        found["type"] = [found["type"], "null"]
    if "enum" in found and schema.get("nullable") is True:
        found["enum"] = [*found["enum"], None]
    return found


@cache
def validators() -> dict[str, Draft202012Validator]:
    """Of whole objects, by the plural of their kind."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        crd = yaml.safe_load(path.read_text("utf-8"))
        schema = _closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        found[crd["spec"]["names"]["plural"]] = Draft202012Validator(schema)
    return found


def faults(plural: str, body: Json) -> list[tuple[str, str]]:
    """(field, sentence) for all that is wrong with an object."""
    found = [(_field(error.absolute_path), error.message) for error in _errors(plural, body)]
    metadata = body.get("metadata", {})
    most = {"batchjobs": 52, "batchschedules": 35}.get(plural, 63)
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > most or not _NAME.fullmatch(name):
        found.append(("metadata.name", f"Invalid value: {name!r:.100}"))
    for key, value in (metadata.get("labels") or {}).items():
        if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str) or not _LABEL.fullmatch(value):
            found.append(("metadata.labels", f"Invalid value: {key!r:.100}: {value!r:.100}"))
    items = (body.get("spec", {}).get("source") or {}).get("items") or ()
    found += [
        (f"spec.source.items[{place}]", "an item has either data (a flat map) or json: set exactly one")
        for place, item in enumerate(items)
        if isinstance(item, dict) and ("data" in item) == ("json" in item)
    ]
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    if len(set(map(repr, ids))) != len(ids):
        found.append(("spec.source.items", "Duplicate value"))
    return found


def _errors(plural: str, body: Json) -> list[ValidationError]:
    return [*validators()[plural].iter_errors(body)]


def unknown_fields(plural: str, body: Json) -> list[str]:
    """Fields that no schema has, which the API server says before anything else."""
    return [
        f"{_field(error.absolute_path)}.{name}"
        for error in _errors(plural, body)
        if error.validator == "additionalProperties"
        for name in error.instance.keys() - error.schema["properties"].keys()
    ]


def _field(path: Any) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _odd(value: Any) -> str:
    """What the API server cannot even read; empty where there is nothing of it."""
    if isinstance(value, dict):
        return next(filter(None, map(_odd, value.values())), "")
    if isinstance(value, list):
        return next(filter(None, map(_odd, value)), "")
    if isinstance(value, int) and not isinstance(value, bool) and value not in INTEGERS:
        return "json: cannot unmarshal number"
    return ""


def _status(code: int, reason: str, message: str, causes: list[tuple[str, str]] | None = None) -> web.Response:
    named = [{"field": field, "message": said, "reason": "FieldValueInvalid"} for field, said in causes or ()]
    body = {"kind": "Status", "message": message[:500], "reason": reason, "code": code, "details": {"causes": named}}
    return web.json_response(body, status=code)


class StrictApiServer(ApiServer):
    """All that the gateway asks for, by `admin` with every right, and by others for BatchJobs."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, Json]] = {
            "batchjobs": self.batch_jobs,
            "batchschedules": {},
            "batchqueues": {},
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for plural in PLURALS:
            root = GROUP if plural == "batchqueues" else f"{GROUP}/namespaces/{{namespace}}"
            router.add_get(f"{root}/{{plural:{plural}}}", self._list)
            router.add_post(f"{root}/{{plural:{plural}}}", self._make)
            router.add_get(f"{root}/{{plural:{plural}}}/{{name}}", self._read)
            router.add_patch(f"{root}/{{plural:{plural}}}/{{name}}", self._change)
        router.add_post("/apis/events.k8s.io/v1/namespaces/{namespace}/events", self._event)

    def snapshot(self) -> dict[str, dict[str, Json]]:
        """All objects as they are now."""
        return deepcopy(self.objects)

    def _found(self, request: web.Request) -> Json:
        body = self.objects[request.match_info["plural"]].get(request.match_info["name"])
        if body is None or request.match_info.get("namespace", "team") != "team":
            raise web.HTTPNotFound
        return body

    async def _list(self, request: web.Request) -> web.Response:
        items = [*self.objects[request.match_info["plural"]].values()]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request))

    async def _make(self, request: web.Request) -> web.Response:
        plural, body = request.match_info["plural"], await request.json()
        if refusal := self._refusal(plural, body):
            return refusal
        name = body["metadata"]["name"]
        if name in self.objects[plural]:
            return _status(409, "AlreadyExists", f"{plural} {name} already exists")
        created = {"uid": f"uid-{name}", "resourceVersion": "1", "generation": 1}
        body["metadata"] |= created | {"creationTimestamp": "2026-01-01T00:00:00Z"}
        self.objects[plural][name] = body
        return web.json_response(body, status=201)

    async def _change(self, request: web.Request) -> web.Response:
        plural, body = request.match_info["plural"], deepcopy(self._found(request))
        change = await request.json()
        if change.get("metadata", {}).get("uid", body["metadata"]["uid"]) != body["metadata"]["uid"]:
            return _status(409, "Conflict", "the uid is another")
        _merge(body, change)
        if refusal := self._refusal(plural, body):
            return refusal
        self.objects[plural][request.match_info["name"]] = body
        return web.json_response(body)

    def _refusal(self, plural: str, body: Json) -> web.Response | None:
        if said := _odd(body):
            return _status(400, "BadRequest", said)
        if unknown := ", ".join(f'unknown field "{field}"' for field in unknown_fields(plural, body)):
            return _status(400, "BadRequest", f"{plural} cannot be handled: strict decoding error: {unknown}")
        if causes := faults(plural, body):
            return _status(422, "Invalid", f"{plural} is invalid: {causes}", causes)
        return None

    async def _event(self, request: web.Request) -> web.Response:
        return web.json_response(await request.json(), status=201)


def _merge(target: Json, change: Json) -> None:
    """A merge patch (RFC 7396)."""
    for name, value in change.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(name), dict):
                target[name] = {}
            _merge(target[name], value)
        else:
            target[name] = value
