"""How an object is read that the API server hands out: its spec in full, its status as far as it can be."""

from typing import Any, Final, TypeVar

from pydantic import ValidationError

from batchjob.api.base import Model

# The status of what nobody has looked at, which the API server fills in: kstatus (Helm, Flux) takes an object without
# a status for current, and would not wait for our first word. Flux's own kinds have the same default.
UNSEEN: Final = {"observedGeneration": -1}

M = TypeVar("M", bound=Model)


def read_leniently(model: type[M], found: Any) -> M | None:
    """What can be read of a status: fields, and entries of lists, that a newer version wrote are left out."""
    if not isinstance(found, dict):
        return None
    try:
        return model.model_validate(found)
    except ValidationError as error:
        places = [fault["loc"] for fault in error.errors()]
    left = {name: found[name] for name in found.keys() - {place[0] for place in places if len(place) == 1}}
    for name in {str(place[0]) for place in places} & left.keys():
        bad = {place[1] for place in places if place[0] == name}
        is_list = isinstance(left[name], list)
        left[name] = [entry for number, entry in enumerate(left[name]) if number not in bad] if is_list else None
    return model.model_validate({name: value for name, value in left.items() if value is not None})


def parse_object(kind: type[M], status: type[Model], body: Any) -> M:
    """Read an object of the API server's, its status as far as it can be; raises ValidationError for its spec.

    The status is None until the operator has written one.
    """
    if isinstance(body, dict) and body.get("status") == UNSEEN:
        body = {**body, "status": None}
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        if any(fault["loc"][:1] != ("status",) for fault in error.errors()):
            raise
        return kind.model_validate({**body, "status": read_leniently(status, body["status"])})
