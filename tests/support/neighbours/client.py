"""The neighbours seen from a test: their control port and their S3 store, and how to start them here."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from obstore.store import S3Store

FOLDER: Final = Path(__file__).parent
TIMEOUT_SECONDS: Final = 30
RECONNECT_SECONDS: Final = 0.2
STOP_SECONDS: Final = 20


class Neighbours:
    """A synchronous client. `control` and `s3` are base URLs; `s3` is needed for objects only.

    Every method raises urllib.error.HTTPError (or obstore's errors, for objects) where the neighbours refuse.
    """

    def __init__(
        self,
        control: str,
        *,
        s3: str = "",
        ports: dict[str, int] | None = None,
        process: subprocess.Popen[str] | None = None,
    ) -> None:
        self._process = process
        self._control = control.rstrip("/")
        self._s3 = s3
        self._stores: dict[str, S3Store] = {}
        self.ports = ports or {}

    def end(self, number: int) -> None:
        """Send the neighbours that were started here a signal, and wait until they are gone."""
        if self._process is None:
            raise RuntimeError("these neighbours are somebody else's")
        self._process.send_signal(number)
        self._process.wait(STOP_SECONDS)

    def ledger(self, name: str, *, after: int = -1) -> list[dict[str, Any]]:
        """Rows of the ledger chat, smtp, s3, https, hooks or issuer whose sequence is above `after`."""
        return [json.loads(line) for line in self._ask("GET", f"ledger/{name}?after={after}").splitlines()]

    def summary(self, name: str) -> dict[str, Any]:
        """`rows`, `by_status`; and of the successes `count`, `distinct_items`, `repeats`."""
        found: dict[str, Any] = json.loads(self._ask("GET", f"ledger/{name}/summary"))
        return found

    def reset_ledgers(self) -> None:
        """Empty every ledger."""
        self._ask("DELETE", "ledger")

    def set_faults(self, name: str, rules: list[dict[str, Any]]) -> None:
        """Replace the rules of one neighbour; see the README for their fields."""
        self._ask("PUT", f"faults/{name}", json.dumps(rules).encode())

    def faults(self) -> dict[str, list[dict[str, Any]]]:
        """The rules by neighbour, each with its `hits`."""
        found: dict[str, list[dict[str, Any]]] = json.loads(self._ask("GET", "faults"))
        return found

    def clear_faults(self, name: str | None = None) -> None:
        """Let one neighbour, or all, behave again."""
        self._ask("DELETE", f"faults/{name}" if name else "faults")

    def mails(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """Rows of the last mails, oldest first."""
        found: list[dict[str, Any]] = json.loads(self._ask("GET", f"mails?limit={limit}"))
        return found

    def mail(self, sequence: int) -> bytes:
        """A mail as it was received; the first has sequence 0."""
        return self._ask("GET", f"mails/{sequence}")

    def put_file(self, name: str, body: bytes) -> None:
        """Let the HTTPS server serve `body` as /files/`name`."""
        self._ask("PUT", f"files/{urllib.parse.quote(name, safe='')}", body)

    def ca_certificate(self) -> str:
        """The authority to trust for the HTTPS server, in PEM."""
        return self._ask("GET", "ca.crt").decode()

    def put_object(self, bucket: str, key: str, body: bytes) -> None:
        """Store an object."""
        self._store(bucket).put(key, body)

    def get_object(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        return bytes(self._store(bucket).get(key).bytes())

    def list_objects(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys below a prefix of whole path segments, sorted."""
        return sorted(meta["path"] for page in self._store(bucket).list(prefix) for meta in page)

    def _store(self, bucket: str) -> "S3Store":
        from obstore.store import S3Store  # noqa: PLC0415  # heavy, and only objects need it

        if bucket not in self._stores:
            self._stores[bucket] = S3Store(
                bucket,
                endpoint=self._s3,
                region="us-east-1",
                access_key_id="test",
                secret_access_key="test",
                client_options={"allow_http": True},
            )
        return self._stores[bucket]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Ask; once more, for a while, where there is no connection: a port-forward that broke is made again."""
        request = urllib.request.Request(f"{self._control}/{path}", data=body, method=method)
        ends = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                    answer: bytes = response.read()
                    return answer
            except (ConnectionError, urllib.error.URLError) as error:
                if isinstance(error, urllib.error.HTTPError) or time.monotonic() > ends:
                    raise
                time.sleep(RECONNECT_SECONDS)


@contextmanager
def local_neighbours(data: Path, chat_port: int = 0) -> Iterator[Neighbours]:
    """Start the neighbours as a process on loopback, on free ports (`.ports`), and end it afterwards.

    `chat_port`: one that they had before they were ended.
    """
    names = ("chat", "smtp", "s3", "https", "hooks", "issuer", "control")
    free = [f"--{name}-port={chat_port if name == 'chat' else 0}" for name in names]
    command = [sys.executable, "-m", "neighbours", "--host=127.0.0.1", f"--data={data}", *free]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(f"the neighbours ended at their start with {process.wait()}")
            ports: dict[str, int] = json.loads(line)
            base = "http://127.0.0.1"
            yield Neighbours(f"{base}:{ports['control']}", s3=f"{base}:{ports['s3']}", ports=ports, process=process)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
