"""Links from a BatchJob to where else it shows: dashboards, logs. Templates of the installation's; pure.

What a template names is encoded, so no name of a BatchJob leads elsewhere on that site, or to another one.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator

from batchjob.api.v1alpha1 import BatchJob

FIELDS: Final = ("namespace", "name", "owner", "queue", "started", "ended")
_FIELD: Final = re.compile(r"\{([a-z]+)\}")


class LinkTemplate(BaseModel):
    """A link: its text, and its URL with fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=40)
    url: str = Field(max_length=2000)

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        host = re.match(r"https?://[^/?#\s{}]+(?=[/?#]|$)", value)
        if host is None:
            raise ValueError("has to begin with https:// or http:// and a host without fields")
        unknown = {name for name in _FIELD.findall(value) if name not in FIELDS}
        if unknown:
            fields = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f"names {{{min(unknown)}}}, and there are {fields}")
        if set(_FIELD.sub("", value)) & set("{}"):
            raise ValueError("has a brace that is of no field: write %7B and %7D for those of the address itself")
        return value


class Link(NamedTuple):
    """A link of one BatchJob."""

    name: str
    url: str


def build_links(templates: Sequence[LinkTemplate], job: BatchJob, times: tuple[float | None, float]) -> list[Link]:
    """The links of a BatchJob. `times`: its start (None: not yet) and end, or now, in seconds since 1970.

    In URLs they are milliseconds, as Grafana has them; what has not started has the time of its end for it.
    """
    started, ended = times
    values: dict[str, Any] = {
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "owner": job.spec.owner or "",
        "queue": job.spec.queue,
        "started": round(1000 * (ended if started is None else started)),
        "ended": round(1000 * ended),
    }
    return [
        Link(one.name, _FIELD.sub(lambda found: quote(str(values[found[1]]), safe=""), one.url)) for one in templates
    ]
