"""The command line: `python -m tests.localcluster <command>`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tests.localcluster.errors import ClusterError
from tests.localcluster.progress import say
from tests.localcluster.providers import provider
from tests.localcluster.tools import helm, kubectl, tools_folder

TOOLS = {"kubectl": kubectl, "helm": helm}


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        if arguments and arguments[0] in TOOLS:  # not argparse's: their arguments are none of our business
            _become(arguments[0], arguments[1:])
        return _run(_parser().parse_args(arguments))
    except ClusterError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next `up` or `down` clears what was begun")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.localcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("prepare", "build whatever `up` and `images` need, side by side"),
        ("up", "bring the cluster up; safe to repeat and to interrupt"),
        ("down", "take it down, whatever is left of it"),
        ("status", "what runs; exit code 0 when healthy"),
        ("recycle-volumes", "wipe released volumes and offer them again"),
        ("tools", "print an `export PATH` line for kubectl and helm"),
        ("env", "as tools, and KUBECONFIG: for eval"),
        ("kubectl", "run kubectl on the cluster, with the rest as its arguments"),
        ("helm", "run helm, with the rest as its arguments"),
    ):
        commands.add_parser(name, help=text)
    images = commands.add_parser("images", help="build the product's images and load them")
    images.add_argument("names", nargs="*", help="operator, worker, neighbours, redis; all by default")
    kubeconfig = commands.add_parser("kubeconfig", help="print the path of a kubeconfig")
    kubeconfig.add_argument("user", nargs="?", default="admin", choices=("admin", "alice", "bob"))
    return parser


def _run(wanted: argparse.Namespace) -> int:
    if wanted.command == "tools":
        _print_path()
        return 0
    cluster = provider()
    match wanted.command:
        case "prepare":
            cluster.prepare()
        case "up":
            cluster.up()
        case "down":
            cluster.down()
        case "status":
            status = cluster.status()
            print("\n".join([f"{'provider':<20} {cluster.name}", *status.lines]))
            return 0 if status.healthy else 1
        case "images":
            cluster.load_images(wanted.names)
        case "recycle-volumes":
            cluster.recycle_volumes()
        case "kubeconfig":
            print(cluster.kubeconfig_of(wanted.user))
        case "env":
            _print_path()
            print(f'export KUBECONFIG="{cluster.kubeconfig}"')
    return 0


def _print_path() -> None:
    print(f'export PATH="{tools_folder()}:$PATH"')


def _become(name: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by kubectl or helm, on the cluster if there is one."""
    kubeconfig = provider().kubeconfig
    if kubeconfig.exists():
        os.environ["KUBECONFIG"] = str(kubeconfig)
    os.execv(TOOLS[name](), [name, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
