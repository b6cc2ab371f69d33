"""`batchjob items`, `errors` and `results`: what is in a BatchJob. The store has it, and the HTTP API hands it out."""

import json
from pathlib import Path
from typing import Any, Final

import click

from batchjob.cli.exits import Refused
from batchjob.cli.options import GatewayPlace, Place, name, output, placed, through_gateway
from batchjob.cli.rights import in_words

SHOWN: Final = 100  # characters of a document in a table


@click.command(epilog=in_words("items"))
@name
@click.option(
    "--status", type=click.Choice(["failed", "succeeded"]), default="failed", show_default=True, help="Which."
)
@click.option("--error-class", metavar="CLASS", help="Only those that failed of this class.")
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="At most so many.")
@output("table", "json", "jsonl")
@through_gateway
@placed
def items(
    place: Place,
    name: str,
    *,
    status: str,
    error_class: str | None,
    limit: int,
    form: str,
    gateway: GatewayPlace,
) -> None:
    """Items of a BatchJob that failed, with what was wrong, or that succeeded and left a result in the store."""
    from batchjob.api.status import ErrorClass
    from batchjob.cli.cluster import work
    from batchjob.cli.gateway import ask, job_id

    if error_class and error_class not in set(ErrorClass):
        there = ", ".join(ErrorClass)
        raise click.BadParameter(f"{error_class} is no class: there are {there}", param_hint="--error-class")
    if error_class and status != "failed":
        raise click.UsageError("--error-class is of items that failed")

    async def read(cluster: Any, client: Any) -> None:
        from batchjob.cli.output import note

        found = list[Any]()
        async for item in client.items(await job_id(cluster, name), status, error_class=error_class):
            if len(found) == limit:
                note(f"There are more than {limit}: --limit shows them")
                break
            found.append(item)
        show_items(found, form, status)

    return work(place, ask(place, gateway, read))


def show_items(found: list[Any], form: str, status: str) -> None:
    """Print items."""
    import msgspec

    from batchjob.cli.output import note, show_json, show_lines, show_table

    plain = [msgspec.to_builtins(item) for item in found]
    if form == "json":
        show_json(plain)
    elif form == "jsonl":
        show_lines(plain)
    elif not found:
        note("No items failed." if status == "failed" else "No item left a result in the store.")
    elif status == "failed":
        rows = [(item.position, item.id, item.attempts, item.error_class, item.message) for item in found]
        show_table(("POSITION", "ITEM", "ATTEMPTS", "CLASS", "MESSAGE"), rows)
    else:
        show_table(("POSITION", "ITEM", "RESULT"), [(item.position, item.id, _excerpt(item.result)) for item in found])


def _excerpt(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


@click.command(epilog=in_words("errors"))
@name
@output("table", "json")
@through_gateway
@placed
def errors(place: Place, name: str, *, form: str, gateway: GatewayPlace) -> None:
    """Why items of a BatchJob failed, by cause: how many, and one of them; the most frequent first."""
    from batchjob.cli.cluster import work
    from batchjob.cli.gateway import ask, job_id

    async def read(cluster: Any, client: Any) -> None:
        show_errors(await client.errors(await job_id(cluster, name)), form)

    return work(place, ask(place, gateway, read))


def show_errors(found: Any, form: str) -> None:
    """Print causes."""
    import msgspec

    from batchjob.cli.output import note, show_json, show_table

    if form == "json":
        return show_json(msgspec.to_builtins(found.errors))
    if not found.errors:
        return note("No items failed.")
    rows = [(one.count, one.error_class, one.fingerprint, one.example_item, one.message) for one in found.errors]
    show_table(("ITEMS", "CLASS", "FINGERPRINT", "EXAMPLE", "MESSAGE"), rows)
    if not found.complete:
        note(f"Of the first {found.items_read} failed items; there are more.")
    return None


@click.group()
def results() -> None:
    """Results of a BatchJob in the store; what went to a destination is there, as batchjob status says."""


@results.command("download", epilog=in_words("results download"))
@name
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@through_gateway
@placed
def download(place: Place, name: str, *, to: Path | None, force: bool, gateway: GatewayPlace) -> None:
    """Download all results: a JSON object a line, with id and result, in the order of the source.

    A file is there once it is whole: until then it has another name.
    """
    from batchjob.cli.cluster import work
    from batchjob.cli.gateway import ask, job_id

    if to and to.exists() and not force:
        raise Refused(f"{to} is there already: name another file, or write over it with --force")

    async def read(cluster: Any, client: Any) -> None:
        found = ({"id": one.id, "result": one.result} async for one in client.results(await job_id(cluster, name)))
        await (_into_file(found, to) if to else _onto_output(found))

    return work(place, ask(place, gateway, read))


async def _onto_output(found: Any) -> None:
    from batchjob.cli.output import show_lines

    async for one in found:
        show_lines([one])


async def _into_file(found: Any, to: Path) -> None:
    from batchjob.cli.files import writing
    from batchjob.cli.output import note

    number = 0
    with writing(to) as file:
        async for one in found:
            file.write(f"{json.dumps(one, ensure_ascii=False)}\n")
            number += 1
    note(f"{number} results are in {to}")
