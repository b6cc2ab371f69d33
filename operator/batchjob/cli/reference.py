"""The page of the command line, from the commands: `python -m batchjob.cli.reference` writes it, `--check` compares."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from batchjob.cli.app import SECTIONS, app
from batchjob.cli.exits import EXIT_CODES
from batchjob.cli.rights import RIGHTS
from batchjob.cli.run import EXIT_CODES as RUN_EXIT_CODES
from batchjob.cli.run import build_parser

PAGE: Final = Path("docs/reference/cli.md")
PROCESSES: Final = "In the cluster"  # nobody types these
SHARED: Final = ("namespace", "context", "kubeconfig", "act_as")
_INTRO: Final = """# The command line

Generated from operator/batchjob/cli by `make generate`. [How to use it](../how-to/command-line.md).

`batchjob` and `kubectl batchjob` are the same. `@latest` in place of a NAME is the newest BatchJob of the namespace.
"""


def build_page() -> str:
    """The page."""
    return "\n".join([_INTRO, *_exit_codes(), *_shared(), *_commands()]).rstrip("\n") + "\n"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "[`batchjob run`](#batchjob-run) has others.\n"
    yield from _table(("Code", "Meaning"), [(str(code), said) for code, said in EXIT_CODES.items()])


def _shared() -> Iterator[str]:
    yield "## Options of all commands that ask the cluster\n"
    ls = app.get_command(click.Context(app), "ls")
    context = click.Context(ls or app)
    yield from _table(("Option", "Meaning"), _options(context, shared=True))


def _commands() -> Iterator[str]:
    for heading, entries in SECTIONS.items():
        if heading != PROCESSES:
            yield f"## {heading}\n"
            for name, entry in entries.items():
                if entry.module:
                    yield from _command(name)
                elif name == "run":
                    yield from _run()
                else:
                    yield f"### batchjob {name}\n\n```\nbatchjob {name}\n```\n\n{entry.summary}.\n"


def _run() -> Iterator[str]:
    """`batchjob run`, which has no click: it has to start without the extra `cli`."""
    parser = build_parser()
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield f"### batchjob run\n\n```\n{usage}\n```\n\n{parser.description}\n"
    rows = []
    for one in parser._actions:  # noqa: SLF001 - argparse shows them in no other way
        value = str(one.metavar or "|".join(one.choices or ()))
        names = f"{', '.join(one.option_strings)} {value}".strip()
        rows.append((f"`{names}`", (one.help or "").replace("<", "&lt;")))
    yield from _table(("Option", "Meaning"), rows)
    yield "It exits by codes of its own:\n"
    yield from _table(("Code", "Meaning"), [(str(code), said) for code, said in RUN_EXIT_CODES.items()])


def _command(name: str) -> Iterator[str]:
    top = click.Context(app, info_name="batchjob")
    command = app.get_command(top, name)
    if isinstance(command, click.Group):
        for below in command.list_commands(top):
            child = command.get_command(top, below)
            if child:
                yield from _section(f"{name} {below}", child, click.Context(command, parent=top, info_name=name))
    elif command:
        yield from _section(name, command, top)


def _section(path: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=path.rpartition(" ")[2])
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### batchjob {path}\n"
    yield f"```\nbatchjob {path} {usage}\n```\n"
    yield _paragraphs(command.help or "")
    if options := _options(context, shared=False):
        yield from _table(("Option", "Meaning"), options)
    if rights := RIGHTS.get(path):
        yield from _table(
            ("Needs the right to", "on", "in", "when"),
            [
                (
                    ", ".join(right.verbs),
                    f"`{right.resource}` ({right.group or 'core'})",
                    _WHERE[right.within],
                    right.when,
                )
                for right in rights
            ],
        )


_WHERE: Final = {
    "namespace": "the namespace of the BatchJob",
    "system": "the namespace of the installation",
    "cluster": "the cluster",
}


def _paragraphs(text: str) -> str:
    """Help as paragraphs: what is a name or a value there may look like markup here."""
    return "\n\n".join(" ".join(one.split()) for one in text.split("\n\n")).replace("<", "&lt;") + "\n"


def _options(context: click.Context, *, shared: bool) -> list[tuple[str, str]]:
    found = []
    for parameter in context.command.params:
        record = parameter.get_help_record(context)
        if record and (parameter.name in SHARED) is shared:
            found.append((f"`{record[0]}`", " ".join(record[1].split())))
    return found


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(headers) + " |"
    yield "|" + "---|" * len(headers)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def main(arguments: list[str], repository: Path) -> int:
    """Write the page; with `--check`, write nothing and return 1 if it is out of date."""
    path, text = repository / PAGE, build_page()
    if "--check" not in arguments:
        path.write_text(text, "utf-8")
        return 0
    if path.exists() and path.read_text("utf-8") == text:
        return 0
    sys.stderr.write(f"{PAGE} is not what the commands say: run `make generate`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[3]))
