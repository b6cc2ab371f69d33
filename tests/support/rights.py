"""The operator's rights: those that the chart grants, and those that a fault proxy saw it use."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from tests.chart.rendering import of_kind
from tests.support.fault_proxy import Call

ACCOUNT: Final = "batchjob-operator"
VERBS: Final = {
    "WATCH": "watch",
    "NAMES": "list",
    "POST": "create",
    "PATCH": "patch",
    "PUT": "update",
    "DELETE": "delete",
}
PATH: Final = re.compile(
    r"^/api(?:s/(?P<group>[^/]+))?/v[^/]+(?:/namespaces/[^/]+)?"
    r"/(?P<resource>[^/?]+)(?:/(?P<name>[^/?]+))?(?:/(?P<subresource>[^/?]+))?"
)


class Right(NamedTuple):
    """To do something to objects of a kind; `resource` with its subresource."""

    group: str
    resource: str
    verb: str


def used(calls: Iterable[Call]) -> set[Right]:
    """Rights that calls needed; what a kind or a group is, anybody may ask."""
    return {right for call in calls if (right := right_of(call))}


def right_of(call: Call) -> Right | None:
    """The right that a call needs; None where it is about no object."""
    found = PATH.match(call.path)
    if found is None:
        return None
    group, resource, name, subresource = found.group("group", "resource", "name", "subresource")
    verb = VERBS.get(call.method) or ("get" if name else "list")
    return Right(group or "", f"{resource}/{subresource}" if subresource else resource, verb)


def refused(calls: Iterable[Call]) -> list[str]:
    """What the API server refused for want of a right, in its words."""
    return [call.said for call in calls if call.status == 403 and ACCOUNT in call.said]


def granted(chart: list[dict[str, Any]]) -> set[Right]:
    """Rights that the rendered chart binds to the operator's account."""
    roles = {(role["kind"], role["metadata"]["name"]): role for role in of_kind(chart, "ClusterRole", "Role")}
    return {
        right
        for binding in of_kind(chart, "ClusterRoleBinding", "RoleBinding")
        if any(one["kind"] == "ServiceAccount" and one["name"] == ACCOUNT for one in binding["subjects"])
        for right in _rights(roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]])
    }


def _rights(role: dict[str, Any]) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield from (Right(group, resource, verb) for verb in rule["verbs"])
