"""Options that commands share, in kubectl's words. Nothing heavy is imported: `--help` of a command is fast too."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

TABLE: Final = "table"
WIDE: Final = "wide"
FORMATS: Final = (TABLE, WIDE, "json", "yaml", "jsonl", "name")


class Place(NamedTuple):
    """Which cluster and namespace are meant, and who asks."""

    namespace: str | None = None  # None: that of the context
    context: str | None = None
    kubeconfig: Path | None = None
    act_as: str | None = None
    everywhere: bool = False


class GatewayPlace(NamedTuple):
    """Where the HTTP API is, and what signs in there; None: found out by the kubeconfig."""

    url: str | None
    token_file: Path | None
    system: str  # the namespace of the installation


def placed(command: F) -> F:
    """`--namespace`, `--context`, `--kubeconfig` and `--as`, as a Place that is the first argument."""

    @click.option("-n", "--namespace", metavar="NAME", help="The namespace (default: that of the context).")
    @click.option("--context", metavar="NAME", help="The context of the kubeconfig (default: the current one).")
    @click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: KUBECONFIG, else ~/.kube/config.")
    @click.option("--as", "act_as", metavar="USER", help="Ask in the name of this user.")
    @functools.wraps(command)
    def inner(
        *given: Any,
        namespace: str | None,
        context: str | None,
        kubeconfig: Path | None,
        act_as: str | None,
        **more: Any,
    ) -> Any:
        place = Place(namespace, context, kubeconfig, act_as, more.pop("everywhere", False))
        return command(place, *given, **more)

    return inner  # type: ignore[return-value] # click's decorators have the types of what they wrap


def everywhere(command: F) -> F:
    """`-A`; it goes above `placed`."""
    return click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")(command)


def through_gateway(command: F) -> F:
    """`--gateway`, its token, and the namespace of the installation, as the GatewayPlace `gateway`."""

    @click.option(
        "--gateway", envvar="BATCHJOB_GATEWAY", metavar="URL", show_envvar=True,
        help="The HTTP API (default: its pods in the cluster, by a port-forward).",
    )  # fmt: skip
    @click.option(
        "--gateway-token-file", envvar="BATCHJOB_GATEWAY_TOKEN_FILE", show_envvar=True, type=click.Path(path_type=Path),
        help="A file with a token for the HTTP API (default: the token of the kubeconfig).",
    )  # fmt: skip
    @click.option(
        "--system-namespace", envvar="BATCHJOB_SYSTEM_NAMESPACE", show_envvar=True, default="batchjob-system",
        show_default=True, metavar="NAME", help="Where BatchJob is installed.",
    )  # fmt: skip
    @functools.wraps(command)
    def inner(
        *given: Any, gateway: str | None, gateway_token_file: Path | None, system_namespace: str, **more: Any
    ) -> Any:
        return command(*given, gateway=GatewayPlace(gateway, gateway_token_file, system_namespace), **more)

    return inner  # type: ignore[return-value] # as above


def output(*formats: str, default: str = TABLE) -> Callable[[F], F]:
    """`-o`."""
    choices = click.Choice(formats or FORMATS)
    return click.option("-o", "--output", "form", type=choices, default=default, show_default=True, help="The form.")


def _complete_name(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    from batchjob.cli.completion import names_of, place_of

    return names_of(place_of(ctx.params), incomplete)


name = click.argument("name", metavar="NAME", shell_complete=_complete_name)
names = click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete_name)
other_name = click.argument("name", metavar="NAME")  # of a queue or a schedule
