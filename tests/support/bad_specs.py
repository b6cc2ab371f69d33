"""Specs and inputs that are wrong, of all four types, and what is said of each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support import manifests
from tests.support.neighbours.client import Neighbours

TOKEN: Final = "hunter2-is-secret"  # the value of every key of every Secret: nobody may be shown it
ONCE: Final = {"retry": {"maxAttempts": 1, "backoff": {"initialDelaySeconds": 0}}}
LOGIN: Final = {"SMTP_USERNAME": TOKEN, "SMTP_PASSWORD": TOKEN}
S3: Final = {"AWS_ACCESS_KEY_ID": TOKEN, "AWS_SECRET_ACCESS_KEY": TOKEN}


@dataclass(frozen=True)
class Bad:
    """One mistake. `{chat}` and the like in a spec stand for ports."""

    name: str
    said: tuple[str, ...]  # words that the status has: the field, the cause, the way out
    block: dict[str, Any] = field(default_factory=dict)  # added to the type's block
    spec: dict[str, Any] = field(default_factory=dict)  # added to the spec
    mounts: dict[str, dict[str, str]] = field(default_factory=dict)  # purpose → key → text
    faults: tuple[dict[str, Any], ...] = ()  # of the neighbour of the type
    succeeds: bool = False  # it is no failure, and is said all the same
    logged: tuple[str, ...] = ()  # where the log says it in other words

    @property
    def type(self) -> str:
        """The type of the BatchJob."""
        return next(kind for kind in ("ai-batch", "export", "email", "report") if self.name.startswith(kind))

    @property
    def neighbour(self) -> str:
        """Whose faults they are."""
        return {"ai-batch": "chat", "export": "s3", "email": "smtp", "report": "smtp"}[self.type]

    def build(self, neighbours: Neighbours, database: int) -> dict[str, Any]:
        """The spec, with the ports of the neighbours and of the database."""
        found = _BASE[self.type]() | ONCE
        found = _merged(found, self.spec)
        name = "aiBatch" if self.type == "ai-batch" else self.type
        found[name] = _merged(found[name], self.block)
        text = json.dumps(found)
        for place, value in {**neighbours.ports, "database": database}.items():
            text = text.replace(f"{{{place}}}", str(value))
        found = json.loads(text)
        for block in (found.get("email"), found.get("report", {}).get("deliver", {}).get("email")):
            if block:
                block["smtp"]["port"] = int(block["smtp"]["port"])
        return dict(found)

    def mounted(self, database: int) -> Iterator[tuple[str, dict[str, str]]]:
        """What its pod has mounted: each purpose and its keys."""
        for purpose, keys in (_MOUNTS[self.type] | self.mounts).items():
            yield purpose, {key: text.replace("{database}", str(database)) for key, text in keys.items()}


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` over `old`; None takes a field out."""
    found = dict(old)
    for name, value in new.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = _merged(found[name], value)
        else:
            found[name] = value
    return found


def _ai() -> dict[str, Any]:
    spec: dict[str, Any] = manifests.ai_batch("a", manifests.inline(1))["spec"]
    spec["aiBatch"]["model"]["baseUrl"] = "http://127.0.0.1:{chat}/v1"
    spec["aiBatch"]["model"]["apiKeySecretRef"] = {"name": "model", "key": "key"}
    return spec


def _export() -> dict[str, Any]:
    spec: dict[str, Any] = manifests.export("e", manifests.inline(1, n=1, day="2026-01-31"))["spec"]
    spec["export"]["destination"]["endpoint"] = "http://127.0.0.1:{s3}"
    return spec


def _email() -> dict[str, Any]:
    source = {
        "items": [{"id": "p", "data": {"email": "p@mail.example", "name": "P", "evil": "x\r\nBcc: all@mail.example"}}]
    }
    spec: dict[str, Any] = manifests.email("m", source)["spec"]
    spec["email"]["smtp"] |= {"host": "127.0.0.1", "port": "{smtp}", "credentialsSecretRef": {"name": "mail"}}
    return spec


def _report() -> dict[str, Any]:
    server = {"host": "127.0.0.1", "port": "{smtp}", "tls": "none", "credentialsSecretRef": {"name": "mail"}}
    mail = {"smtp": server, "from": "Reports <reports@example.com>", "to": ["boss@mail.example"]}
    return {"type": "report", "owner": "alice", "report": {"formats": ["json"], "deliver": {"email": mail}}}


_BASE: Final = {"ai-batch": _ai, "export": _export, "email": _email, "report": _report}
_MOUNTS: Final = {
    "ai-batch": {"model": {"key": TOKEN}},
    "export": {"destination-credentials": S3},
    "email": {"smtp": LOGIN},
    "report": {"smtp": LOGIN},
}
DATABASE: Final = "postgresql://postgres:secret@127.0.0.1:{database}/postgres"


def sql(query: str) -> dict[str, Any]:
    """A source that is a query."""
    return {"source": {"items": None, "sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": query}}}


def section(query: str) -> dict[str, Any]:
    """The sections of a report: one, that is a query."""
    return {"sections": [{"title": "T", "sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": query}}]}


def uri(url: str, **fields: Any) -> dict[str, Any]:
    """A source that is a file in a bucket."""
    place = {"url": url, "endpoint": "http://127.0.0.1:{s3}", "credentialsSecretRef": {"name": "s3"}} | fields
    return {"source": {"items": None, "uri": place}}


PLACE: Final = {
    "url": "s3://batchjob/mail",
    "endpoint": "http://127.0.0.1:{s3}",
    "credentialsSecretRef": {"name": "s3"},
}
FILES: Final = {"files-credentials": S3}
SOURCE: Final = {"source-credentials": S3}
DSN: Final = {"source-credentials": {"dsn": DATABASE}}
