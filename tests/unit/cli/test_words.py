"""What refusals are in plain words, what is painted, and which lines of a log are about an item."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchjob.cli import cluster, gateway
from batchjob.cli.logs import _about
from batchjob.cli.options import Place
from batchjob.cli.output import has_colours, paint
from batchjob.client.errors import ApiError, build_error
from batchjob.client.steps import Reply
from batchjob.errors import AlreadyExists, ApiUnavailable, Forbidden, Invalid, KubernetesError, NotFound


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Forbidden("may not", status=403), "Ask whoever runs the cluster for a role with that right"),
        (
            NotFound("the server could not find the requested resource", status=404),
            "install the chart batchjob-operator",
        ),
        (NotFound("404 page not found\n", status=404), "install the chart batchjob-operator"),
        (NotFound('batchschedules.batchjob.dev "x" not found', status=404), "with: batchjob schedule ls"),
        (NotFound('batchqueues.batchjob.dev "x" not found', status=404), "with: batchjob queue ls"),
        (NotFound('namespaces "x" not found', status=404), "with: kubectl get namespaces"),
        (NotFound('batchjobs.batchjob.dev "x" not found', status=404), "See what there is with: batchjob ls"),
        (Invalid("no", status=422, causes=(("spec.a", "is wrong"),)), "the API server refused it:\n  spec.a: is wrong"),
        (ApiUnavailable("Unauthorized", status=401), "sign in again, or choose another context"),
        (ApiUnavailable("refused"), "Does the cluster of the context c run, and is it reached from here?"),
        (ApiUnavailable("too many", status=429), "too many"),
        (AlreadyExists("there", status=409), "there"),
    ],
)
def test_a_refusal_of_the_api_server_says_what_to_do(error: KubernetesError, sentence: str) -> None:
    assert sentence in cluster.in_words(error, Place(context="c"))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "the HTTP API does not take who you are: why; /a: bad"),
        (403, "why; /a: bad. Ask whoever runs the cluster for a role with that right"),
        (404, "why; /a: bad. See what there is with: batchjob ls"),
        (409, "why; /a: bad"),
    ],
)
def test_a_refusal_of_the_http_api_says_what_to_do(status: int, sentence: str) -> None:
    body = b'{"type": "x", "detail": "why", "errors": [{"pointer": "/a", "detail": "bad"}]}'
    error = build_error(Reply(status, {}, body))
    assert isinstance(error, ApiError)
    assert gateway._in_words(error) == sentence


@pytest.mark.parametrize("name", ["a", "batchjob.batchjob.dev/a"])
async def test_a_job_of_the_http_api_is_named_as_o_name_prints_it(name: str) -> None:
    nobody: Any = None
    assert await gateway.job_id(cluster.Cluster(nobody, "team"), name) == "team.a"


def test_colours_are_for_a_terminal_and_for_nobody_who_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert (has_colours(), paint("Failed", "Failed")) == (False, "Failed")
    monkeypatch.setattr("batchjob.cli.output.is_terminal", lambda: True)
    assert (has_colours(), paint("Failed", "Failed")) == (True, "\x1b[31mFailed\x1b[0m")
    assert paint("anything", "anything") == "anything"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("Failed", "Failed") == "Failed"


def test_lines_about_an_item_are_those_that_name_it() -> None:
    text = '{"event": "begun"}\n{"event": "failed", "item": "a"}\nno JSON, but item a\n[1]\n{"item": "b"}\n'
    assert list(_about(text, "a")) == ['{"event": "failed", "item": "a"}']
    assert len(list(_about(text, None))) == 5


def test_as_a_plugin_of_kubectl_it_calls_itself_so() -> None:
    plugin = Path(sys.executable).with_name("kubectl-batchjob")
    said = subprocess.run([plugin, "lss"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (
        2,
        "kubectl batchjob: No such command 'lss'.\nSee kubectl batchjob --help.\n",
    )
