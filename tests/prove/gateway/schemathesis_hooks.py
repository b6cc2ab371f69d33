"""What Schemathesis has to know of this API besides its OpenAPI document; it loads this by SCHEMATHESIS_HOOKS.

Most ids that it makes up name nothing, which would ask for 404s alone: two of three become one that is there.
"""

import json
import zlib
from typing import Any, Final

import schemathesis

JOBS: Final = ("team.running", "team.ended")
NAMES: Final = {"job": JOBS, "name": ("custom",)}
LINES: Final = "application/x-ndjson"


@schemathesis.serializer(LINES)
def write_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A body of lines is a text in the document."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@schemathesis.deserializer(LINES)
def read_lines(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """The document describes one line: here the last, since all are made alike."""
    lines = response.content.splitlines()
    return json.loads(lines[-1]) if lines else {"id": ""}


@schemathesis.hook
def map_path_parameters(_: schemathesis.HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ids that are there, in place of most."""
    for name, there in NAMES.items():
        if path_parameters and name in path_parameters:
            chosen = zlib.crc32(repr(path_parameters[name]).encode("utf-8", "surrogatepass")) % (
                len(there) * 3 // 2 + 1
            )
            if chosen < len(there):
                path_parameters[name] = there[chosen]
    return path_parameters


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Live events of what runs have no end."""
    assert kwargs is not None
    if (
        case.path.endswith("/events")
        and case.method == "GET"
        and str(case.path_parameters.get("job")).startswith("team.")
    ):
        case.path_parameters["job"] = "team.ended"
