"""The command `batchjob`. It imports what a command needs only when that command runs."""

import sys
from typing import Final

EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT
USAGE: Final = """usage: batchjob <command>

  run -f <file>                    run a BatchJob on this machine, without a cluster (run --help)
  operator                         run the operator (in the cluster)
  worker                           run a worker (in a pod of a BatchJob)
  init-secret <namespace> <name>   make a Secret with a random password, unless it exists
  version                          print the version
"""


def main() -> None:
    """Entry point; exits with the command's code, 2 for a wrong command line, 130 after a Ctrl-C."""
    try:
        code = execute(sys.argv[1:])
    except KeyboardInterrupt:  # at any moment, such as while a command is imported
        code = EXIT_INTERRUPTED
    sys.exit(code)


def execute(arguments: list[str]) -> int:  # noqa: PLR0911 - one a command
    """Run one command line and return its exit code."""
    match arguments:
        case ["operator"]:
            from batchjob.controller import main as operator

            return operator()
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
