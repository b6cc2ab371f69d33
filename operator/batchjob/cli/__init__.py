"""The command `batchjob`. It imports what a command needs only when that command runs."""

import os
import signal
import sys
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT
USAGE: Final = """usage: batchjob <command>

  run -f <file>                    run a BatchJob on this machine, without a cluster (run --help)
  operator                         run the operator (in the cluster)
  gateway                          run the HTTP API (in the cluster)
  worker                           run a worker (in a pod of a BatchJob)
  init-secret <namespace> <name>   make a Secret with a random password, unless it exists
  version                          print the version
"""


def main() -> None:
    """Entry point; exits with the command's code, 2 for a wrong command line, 130 after a Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored, as with nohup
        signal.signal(signal.SIGINT, _leave)
    sys.exit(execute(sys.argv[1:]))


def _leave(_number: int, _frame: object) -> NoReturn:
    """End at once: nothing has begun. Whoever begins something sets a handler of its own.

    A KeyboardInterrupt would be raised within whatever is imported now, and a library in Rust panics then.
    """
    os._exit(EXIT_INTERRUPTED)


def execute(arguments: list[str]) -> int:  # noqa: PLR0911 - one a command
    """Run one command line and return its exit code."""
    match arguments:
        case ["operator"]:
            from batchjob.controller import main as operator

            return operator()
        case ["gateway"]:
            from batchjob.gateway import main as gateway

            return gateway()
        case ["worker"]:
            from batchjob.worker import main as worker

            return worker()
        case ["run", *options]:
            from batchjob.cli.run import main as run_locally

            return run_locally(options)
        case ["init-secret", namespace, name]:
            from batchjob.cli.init_secret import main as init_secret

            return init_secret(namespace, name)
        case ["version" | "--version"]:
            from importlib.metadata import version

            print(version("batchjob"))
            return 0
        case [] | ["-h"] | ["--help"] | ["help"]:
            print(USAGE, end="")
            return 0
        case _:
            print(f"batchjob: unknown command {' '.join(arguments)!r}\n\n{USAGE}", end="", file=sys.stderr)
            return 2
