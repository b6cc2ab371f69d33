"""Argo CD's way with the scripts of `examples/gitops/argocd-cm.yaml`: what it shows of an object, what its menu does.

As its `util/lua` runs them: Lua 5.1 with the base, table and package libraries and a part of os, and nothing else; what
they return goes through JSON, which knows no empty table from an empty list.
"""

import functools
from pathlib import Path
from typing import Any, Final

import lupa.lua51
import yaml

FILE: Final = Path(__file__).parents[2] / "examples/gitops/argocd-cm.yaml"
SANDBOX: Final = """
local time, date = os.time, os.date
for _, name in ipairs({"string", "io", "os", "math", "debug", "coroutine", "python"}) do
  _G[name], package.loaded[name] = nil, nil
end
os = {time = time, date = date}
package.preload.os = function() return os end
getmetatable("").__index = nil
"""


@functools.cache
def scripts(what: str, kind: str) -> str:
    """What the ConfigMap says of a kind: its `health` or its `actions`."""
    data = yaml.safe_load(FILE.read_text())["data"]
    return str(data[f"resource.customizations.{what}.batchjob.dev_{kind}"])


def health(body: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD shows of an object: (status, message)."""
    found = _run(scripts("health", body["kind"]), body)
    return found["status"], found.get("message", "")


def menu(body: dict[str, Any]) -> set[str]:
    """The actions that can be chosen."""
    actions = yaml.safe_load(scripts("actions", body["kind"]))
    found = _run(actions["discovery.lua"], body)
    assert set(found) == {one["name"] for one in actions["definitions"]}
    return {name for name, one in found.items() if not one["disabled"]}


def act(body: dict[str, Any], name: str) -> Any:
    """What an action makes of an object: the object, or a list of what is to be created."""
    definitions = yaml.safe_load(scripts("actions", body["kind"]))["definitions"]
    [script] = [one["action.lua"] for one in definitions if one["name"] == name]
    return _run(script, body)


def _run(script: str, body: dict[str, Any]) -> Any:
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True, register_builtins=False, register_eval=False)
    lua.execute(SANDBOX)
    lua.globals().obj = lua.table_from(body, recursive=True)
    return _plain(lua.execute(script))


def _plain(value: Any) -> Any:
    if lupa.lua51.lua_type(value) == "table":
        if set(value) == set(range(1, len(value) + 1)):
            return [_plain(one) for one in value.values()]
        return {name: _plain(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
