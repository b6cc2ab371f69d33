"""The commands: a table of their modules, so that `--help` imports none of them, and the place that runs them."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from batchjob.cli.exits import ERROR, EXIT_CODES, INTERRUPTED, OK, USAGE, Refused
from batchjob.cli.streams import give_up, tell
from batchjob.errors import BatchJobError

DOCS: Final = "docs/how-to/command-line.md"


class Entry(NamedTuple):
    """A command: where it is, and what it does in a line."""

    module: str  # in batchjob.cli; empty: `execute` runs it by itself
    summary: str


SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Make and look": {
        "submit": Entry("submit", "Create BatchJobs from files"),
        "ls": Entry("listing", "List BatchJobs, or those that a query finds"),
        "get": Entry("listing", "Show BatchJobs by their names"),
        "status": Entry("status", "All about a BatchJob on one page"),
        "watch": Entry("following", "Show its progress until it ends"),
        "wait": Entry("following", "Wait until it ends; the exit code says how"),
        "logs": Entry("logs", "Logs of its workers"),
        "items": Entry("contents", "Items that failed, or succeeded"),
        "errors": Entry("contents", "Why items failed, by cause"),
        "results": Entry("contents", "Download its results"),
        "top": Entry("top", "What runs now, and how fast"),
    },
    "Change": {
        "suspend": Entry("changing", "Pause it"),
        "resume": Entry("changing", "Go on with it"),
        "cancel": Entry("changing", "End it as cancelled"),
        "redrive": Entry("changing", "Try its failed items again, as a BatchJob of their own"),
        "queue": Entry("queues", "List, pause and resume queues"),
        "schedule": Entry("schedules", "List, pause, resume and run schedules"),
    },
    "Write": {
        "lint": Entry("manifests", "Check manifests without a cluster"),
        "explain": Entry("manifests", "What a field means"),
        "run": Entry("", "Run a BatchJob on this machine, without a cluster"),
        "migrate": Entry("migrate", "Bring over what waits in other queues: BullMQ's"),
    },
    "Help": {
        "doctor": Entry("doctor", "Check the way to the cluster, the installation, and your rights"),
        "completion": Entry("completion", "Completion for a shell, and for kubectl"),
        "version": Entry("", "Print the version"),
    },
    "In the cluster": {
        "operator": Entry("", "Run the operator"),
        "gateway": Entry("", "Run the HTTP API"),
        "worker": Entry("", "Run a worker"),
        "init-secret": Entry("", "Make Secrets with a random password each, unless they exist"),
    },
}
COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own
        """One of them."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if not entry.module:
            return click.Command(cmd_name, short_help=entry.summary)  # for completion alone
        found: click.Command = getattr(importlib.import_module(f"batchjob.cli.{entry.module}"), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """The commands, by what they are for."""
        for heading, entries in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])


app = Commands(
    "batchjob",
    help="Batch jobs on Kubernetes. A BatchJob is named by its name, or as @latest: the newest of the namespace.",
    epilog="Exit codes: " + ", ".join(f"{code} {said.partition(';')[0]}" for code, said in EXIT_CODES.items()) + ".",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def program() -> str:
    """What the user called us."""
    return "kubectl batchjob" if os.path.basename(sys.argv[0]) == "kubectl-batchjob" else "batchjob"  # noqa: PTH119


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one a way to end
    """Run one command line; returns its exit code. What went wrong is a sentence on standard error."""
    name = program()
    try:
        code = app.main(list(arguments), prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        return _say(f"{error.format_message()}\n\nSee {name} --help.", USAGE)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _say(f"{path}: {error.format_message()}\nSee {path} --help.", USAGE)
    except click.ClickException as error:
        return _say(f"{name}: {error.format_message()}", ERROR)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Refused as refused:
        return _say(f"{name}: {refused}", refused.code)
    except BatchJobError as error:
        return _say(f"{name}: {error}", ERROR)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "batchjob":
            raise
        return _say(f"{name}: this needs the extra `cli`: pip install 'batchjob[cli]' ({error})", ERROR)
    except OSError as error:
        return give_up(name, error)
    return code if isinstance(code, int) else OK


def _say(sentence: str, code: int) -> int:
    tell(sentence)
    return code
