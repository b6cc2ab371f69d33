"""`batchjob completion`, and `kubectl_complete-batchjob`, which kubectl asks about its plugin `kubectl batchjob`."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from batchjob.cli.options import Place
from batchjob.errors import BatchJobError

SHELLS: Final = ("bash", "zsh", "fish")
SECONDS: Final = 3.0  # somebody presses a key and waits
NO_FILES, FILES = 4, 0  # cobra's directives, which end what kubectl reads


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a SHELL complete commands, options and names of BatchJobs.

    bash: source <(batchjob completion bash). zsh: the same with zsh. fish: batchjob completion fish | source.
    kubectl completes "kubectl batchjob" by itself where kubectl_complete-batchjob is on the PATH.
    """
    from batchjob.cli.app import app

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known to click")
    click.echo(kind(app, {}, "batchjob", "_BATCHJOB_COMPLETE").source())


def kubectl() -> None:
    """Entry point of `kubectl_complete-batchjob`: the words so far, of which the last is not complete."""
    for line in answer(sys.argv[1:]):
        click.echo(line)


def answer(words: Sequence[str]) -> list[str]:
    """What kubectl reads: a line each, with its help behind a tab, and a directive."""
    from batchjob.cli.app import app

    *before, last = words or [""]
    found = ShellComplete(app, {}, "batchjob", "").get_completions(before, last)
    wants_file = any(item.type in ("file", "dir") for item in found)
    lines = [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in found if item.type == "plain"]
    return [*lines, f":{FILES if wants_file else NO_FILES}"]


def names_of(place: Place, incomplete: str) -> list[CompletionItem]:
    """Names of BatchJobs; none where the cluster is not reached: nobody reads an error here."""
    try:
        found = asyncio.run(asyncio.wait_for(_names(place), SECONDS))
    except (BatchJobError, TimeoutError, OSError):
        return []
    return [CompletionItem(name) for name in (*found, "@latest") if name.startswith(incomplete)]


async def _names(place: Place) -> list[str]:
    from batchjob.cli.cluster import open_cluster
    from batchjob.kube import BATCH_JOBS

    async with open_cluster(place) as cluster:
        found = (await cluster.kube.list(BATCH_JOBS, cluster.namespace, names_only=True)).items
    return [item["metadata"]["name"] for item in found]


def place_of(params: Mapping[str, Any]) -> Place:
    """The place that the options so far name."""
    return Place(params.get("namespace"), params.get("context"), params.get("kubeconfig"), params.get("act_as"))
