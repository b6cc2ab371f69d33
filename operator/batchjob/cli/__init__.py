"""The command `batchjob`. It imports what a command needs only when that command runs."""

import importlib.util
import signal
import sys


def main() -> None:
    """Entry point; exits with the command's code, 2 for a wrong command line, 130 after a Ctrl-C."""
    from batchjob.cli.streams import stand_in

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored, as with nohup
        from batchjob.cli.interrupts import leave

        signal.signal(signal.SIGINT, leave)  # nothing has begun: whoever begins something sets a handler of its own
    stand_in()
    sys.exit(execute(sys.argv[1:]))


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
        case ["init-secret", namespace, *names] if names:
            from batchjob.cli.init_secret import main as init_secret

            return init_secret(namespace, names)
        case ["version" | "--version"]:
            return _version()
        case _:
            # The images of the operator and of workers have the processes, and no click of their own.
            if importlib.util.find_spec("click") is None:
                print("batchjob: this command needs the extra `cli`: pip install 'batchjob[cli]'", file=sys.stderr)
                return 1
            from batchjob.cli.app import run

            return run(arguments or ["--help"])


def _version() -> int:
    from importlib.metadata import version

    try:
        print(version("batchjob"), flush=True)
    except OSError as error:
        from batchjob.cli.streams import give_up

        return give_up("batchjob", error)
    return 0
