"""`batchjob run`: a BatchJob on this machine, without a cluster."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from batchjob.api.run import EXIT_CONFIGURATION
from batchjob.errors import BatchJobError, ConfigurationError
from batchjob.local.exits import EXIT_FAILED, SIGNALLED, SIGNALS

OF_THE_EXTRA: Final = ("cel", "rich", "yaml")
EXIT_CODES: Final = {
    0: "no item failed",
    1: "items failed, or the run could not go on",
    2: "the command line is wrong",
    64: "bad input: manifest, source, module, or a processor that does not open",
    130: "stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP: 128 and the number of the signal)",
}


def main(arguments: Sequence[str]) -> int:
    """Run one BatchJob; returns one of `EXIT_CODES`."""
    parsed = build_parser().parse_args(arguments)
    try:
        from batchjob.local.command import Options, run

        for number in SIGNALS:  # what is begun from here on is cleared away
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, _leave)
        ending = run(Options(**vars(parsed)))
    except ModuleNotFoundError as error:
        if error.name not in OF_THE_EXTRA:
            raise
        return _refuse("needs the extra `local`: pip install 'batchjob[local]'", EXIT_CONFIGURATION)
    except ConfigurationError as error:
        return _refuse(error, EXIT_CONFIGURATION)
    except BatchJobError as error:
        return _refuse(error, EXIT_FAILED)
    except _Stopped as stopped:
        return _refuse("stopped before anything began", stopped.code)
    _print(ending.text)
    return ending.code


class _Stopped(KeyboardInterrupt):
    """By a signal, before the run heard signals itself."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def _leave(number: int, _: object) -> NoReturn:
    raise _Stopped(SIGNALLED + number)


def _refuse(why: object, code: int) -> int:
    print(f"batchjob run: {why}", file=sys.stderr)
    return code


def _print(text: str) -> None:
    """Print it, whatever standard output is: a pipe or a terminal that was closed, or one that knows only ASCII."""
    encoding = sys.stdout.encoding
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it ends


def build_parser() -> argparse.ArgumentParser:
    """Its options."""
    parser = argparse.ArgumentParser(
        prog="batchjob run",
        description="Run a BatchJob on this machine, without a cluster.",
        epilog="exit codes:\n" + "".join(f"  {code:<5}{said}\n" for code, said in EXIT_CODES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f", "--file", dest="files", type=Path, action="append", required=True, metavar="FILE",
        help="YAML with a BatchJob, and the ConfigMaps and Secrets that it names; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--processors", action="append", default=[], metavar="MODULE",
        help="module, module:Class or name=module:Class with a Processor of yours; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: <name>-results)")
    parser.add_argument(
        "--workers", type=_positive, metavar="N",
        help="worker processes (default: spec.parallelism, at most one a CPU)",
    )  # fmt: skip
    parser.add_argument(
        "--redrive", action="store_true", help="do the items again that failed in the last run, or that it did not do"
    )
    parser.add_argument("--store", metavar="URL", help="a Redis or Valkey that runs (default: one of our own)")
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error"),
        help="which logs of workers and processors are shown (default: warning)",
    )  # fmt: skip
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, and is {text}")
    return int(text)
