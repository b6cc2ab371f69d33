"""The job types as the survivals need them: a run over so many items, what the world saw of it, and what it kept.

What is seen and what is kept name items by what they are about, so that runs of different uids can be compared.
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections import Counter
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, ClassVar, Final

from batchjob.api.run import Run
from batchjob.core.items import LEASE_MS
from tests.support import manifests
from tests.support.ai_runs import ai_spec, asked, results
from tests.support.mailing import mailing
from tests.support.neighbours.client import Neighbours
from tests.support.reporting import files, prepare, reporting
from tests.support.workers import Workers

PODS: Final = 2
CONCURRENCY: Final = 2  # a report has few items: most of them are not to be in flight at once
S3_KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
RETRY: Final = {"maxAttempts": 2, "maxLosses": 100, "backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}
WORK: Final = {"parallelism": PODS, "concurrency": CONCURRENCY, "retry": RETRY}
SOURCE: Final = {"configMapRef": {"name": "items", "key": "items.jsonl"}}
REDRIVE: Final = {"redriveOf": {"batchJobName": "parent"}}
REDRIVEN: Final = 5  # every fifth item fails, where a run is to be redriven


class Kind(ABC):
    """One type. `together`: how many items have their effect at once."""

    together: ClassVar[int] = 1

    def __init__(self, workers: Workers, neighbours: Neighbours, items: int) -> None:
        self.items = items
        self._workers = workers
        self._neighbours = neighbours

    async def open(self, parent: Run | None = None, lease_ms: int = LEASE_MS) -> Run:
        """A run over the items, or over the dead letters of another."""
        source = REDRIVE if parent else SOURCE
        run = await self._workers.open(self._spec(source), lease_ms=lease_ms, parent=parent)
        if not parent:
            lines = (json.dumps({"id": f"i{n}", **self._item(n)}) for n in range(self.items))
            self._workers.reference(run, "source", items__jsonl="\n".join(lines))
        self._workers.reference(run, "destination-credentials", **S3_KEYS)
        return run

    def calm(self) -> None:
        """Let nothing be slow, and nothing fail."""
        self._neighbours.clear_faults()

    @abstractmethod
    def slow(self, seconds: float) -> None:
        """Let each effect take so long: whoever is disturbed has something in its hands."""

    @abstractmethod
    def spoil(self) -> None:
        """Let every fifth item fail."""

    @abstractmethod
    def seen(self, run: Run) -> Counter[Any]:
        """What the world saw of each item, and how often."""

    async def kept(self, run: Run) -> dict[str, Any]:
        """What is left of each item, by id: its result, unless it is told otherwise."""
        return {name: self._about(result) for name, result in (await results(self._workers, run)).items()}

    @abstractmethod
    def _spec(self, source: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _item(self, number: int) -> dict[str, Any]: ...

    def _about(self, result: dict[str, Any]) -> Any:
        """What of a result is the same in every run."""
        return result


class AiBatch(Kind):
    """Requests to a model's server."""

    def slow(self, seconds: float) -> None:
        self._neighbours.set_faults("chat", [{"action": "delay", "delay_seconds": seconds}])

    def spoil(self) -> None:
        self._neighbours.set_faults("chat", [{"action": "status", "match": r"sentence \d*[05]\Z"}])

    def seen(self, run: Run) -> Counter[Any]:
        return Counter(row["text_sha256"] for row in asked(self._neighbours, run) if row["status"] == 200)

    def _spec(self, source: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = ai_spec(self._neighbours, source, **WORK)
        return found

    def _item(self, number: int) -> dict[str, Any]:
        return {"text": f"sentence {number}"}

    def _about(self, result: dict[str, Any]) -> Any:
        return result["sentiment"], result["score"]


class Email(Kind):
    """Mails."""

    def slow(self, seconds: float) -> None:
        self._neighbours.set_faults("smtp", [{"action": "answer_late", "delay_seconds": seconds}])

    def spoil(self) -> None:
        self._neighbours.set_faults("smtp", [{"action": "smtp_code", "status": 550, "match": r"^p\d*[05]@"}])

    def seen(self, run: Run) -> Counter[Any]:
        return mails(self._neighbours, run)

    def _spec(self, source: dict[str, Any]) -> dict[str, Any]:
        return mailing(self._neighbours, source, {}, **WORK)

    def _item(self, number: int) -> dict[str, Any]:
        return {"email": f"p{number}@mail.example", "name": f"P{number}"}

    def _about(self, result: dict[str, Any]) -> Any:
        return result["to"]


class Export(Kind):
    """Files of five rows each in a bucket. To be redriven, every fifth of them is refused."""

    together = 5

    def slow(self, seconds: float) -> None:
        self._neighbours.set_faults("s3", [{"match": "^PUT .*/part-", "action": "delay", "delay_seconds": seconds}])

    def spoil(self) -> None:
        # An item that is tried again is in a part of its own, named after itself.
        parts = r"^PUT .*/part-\d*(?:0[0-4]|2[5-9]|5[0-4]|7[5-9])-"
        self._neighbours.set_faults("s3", [{"match": parts, "action": "status", "status": 403}])

    def seen(self, run: Run) -> Counter[Any]:
        stored = (row["key"] for row in self._neighbours.ledger("s3") if f"/{run.folder}/part-" in row["key"])
        return Counter(row for key in stored for row in self._rows(key))

    async def kept(self, run: Run) -> dict[str, Any]:
        folder = f"exports/{run.folder}"
        listed = json.loads(self._neighbours.get_object(manifests.BUCKET, f"{folder}/manifest.json"))["parts"]
        keys = [f"{folder}/{part['name']}" for part in listed]
        there = self._neighbours.list_objects(manifests.BUCKET, folder)
        assert there == sorted([*keys, f"{folder}/manifest.json"]), "a stray file"
        rows = [row for key in keys for row in self._rows(key)]
        assert len(rows) == len(dict(rows)), "a row is in two files"
        return dict(rows)

    def _rows(self, key: str) -> list[tuple[str, str]]:
        body = self._neighbours.get_object(manifests.BUCKET, key).decode()
        return [(row["id"], row["text"]) for row in csv.DictReader(io.StringIO(body, newline=""))]

    def _spec(self, source: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = manifests.export("e", source, **WORK)["spec"]
        found["export"]["rowsPerFile"] = self.together
        found["export"]["destination"]["endpoint"] = f"http://127.0.0.1:{self._neighbours.ports['s3']}"
        return found

    def _item(self, number: int) -> dict[str, Any]:
        return {"text": f"sentence {number}"}


class Report(Kind):
    """A report to a folder, and by mail to as many as it may be sent to."""

    def __init__(self, workers: Workers, neighbours: Neighbours, items: int) -> None:
        super().__init__(workers, neighbours, min(items, 21))

    async def open(self, parent: Run | None = None, lease_ms: int = LEASE_MS) -> Run:
        run = await super().open(parent, lease_ms)
        await prepare(self._workers, run)
        return run

    def slow(self, seconds: float) -> None:
        self._neighbours.set_faults("smtp", [{"action": "answer_late", "delay_seconds": seconds}])

    def spoil(self) -> None:
        raise AssertionError("a report has no items of another's")

    def seen(self, run: Run) -> Counter[Any]:
        return mails(self._neighbours, run)

    async def kept(self, run: Run) -> dict[str, Any]:
        found = files(self._workers, run)
        manifest = json.loads(found.pop("manifest.json"))
        assert sorted(part["name"] for part in manifest["parts"]) == sorted(found)
        written = {name: anybodys(body.decode(), run) for name, body in found.items()}
        return await super().kept(run) | written

    def _about(self, result: dict[str, Any]) -> Any:
        return result.get("to", "files")

    def _spec(self, source: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - a report has none
        server = {"host": "127.0.0.1", "port": self._neighbours.ports["smtp"], "tls": "none"}
        to = [f"p{number}@mail.example" for number in range(self.items - 1)]
        spec = reporting(self._workers, formats=["json", "csv"])
        spec["report"]["deliver"]["email"] = {"smtp": server, "from": "reports@example.com", "to": to}
        return spec | WORK

    def _item(self, number: int) -> dict[str, Any]:  # noqa: ARG002 - as above
        return {}


class Custom(Kind):
    """A processor of one's own, which notes what it did in a file."""

    _seconds = 0.0

    def calm(self) -> None:
        self._seconds = 0.0
        self._mended.touch()

    def slow(self, seconds: float) -> None:
        self._seconds = seconds

    def spoil(self) -> None:
        self._mended.unlink()

    def seen(self, run: Run) -> Counter[Any]:
        notes = self._workers.claim / "notes"
        return Counter(name for uid, name in map(str.split, notes.read_text().splitlines()) if uid == run.uid)

    @property
    def _mended(self) -> Path:
        return self._workers.claim / "mended"

    def _spec(self, source: dict[str, Any]) -> dict[str, Any]:
        params = {"ledger": str(self._workers.claim / "notes")}
        return {"type": "custom", "custom": {"processor": "chaos", "params": params}, "source": source, **WORK}

    def _item(self, number: int) -> dict[str, Any]:
        if number % REDRIVEN:
            return {"do": "sleep", "seconds": self._seconds}
        return {"do": "fail", "unless": str(self._mended)}

    def _about(self, result: dict[str, Any]) -> Any:
        return sorted(result)


KINDS: Final[dict[str, type[Kind]]] = {
    "ai-batch": AiBatch,
    "export": Export,
    "email": Email,
    "report": Report,
    "custom": Custom,
}


def mails(neighbours: Neighbours, run: Run) -> Counter[Any]:
    """Who got which mail."""
    return Counter(
        (*row["rcpt_tos"], row["subject"], anybodys(text_of(neighbours.mail(row["sequence"])), run))
        for row in neighbours.ledger("smtp")
        if row["message_id"].startswith(f"<{run.uid}.")
    )


def text_of(mail: bytes) -> str:
    """What a mail and its files say."""
    parts = (part for part in message_from_bytes(mail, policy=default).walk() if not part.is_multipart())
    return "\n".join(str(part.get_content()) for part in parts)


def anybodys(text: str, run: Run) -> str:
    """A text without the name of its run."""
    return text.replace(run.name, "NAME")
