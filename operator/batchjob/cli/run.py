"""`batchjob run`: a BatchJob on this machine, without a cluster."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from batchjob.api.run import EXIT_CONFIGURATION
from batchjob.errors import BatchJobError, ConfigurationError

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT
OF_THE_EXTRA: Final = ("cel", "rich", "yaml")


def main(arguments: Sequence[str]) -> int:
    """Run one BatchJob; 0 where every item succeeded, 1 where some failed, 64 for bad input, 130 after a Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    try:
        from batchjob.local.command import Options, run

        ending = run(Options(**vars(parsed)))
    except ModuleNotFoundError as error:
        if error.name not in OF_THE_EXTRA:
            raise
        print("batchjob run: needs the extra `local`: pip install 'batchjob[local]'", file=sys.stderr)
        return EXIT_CONFIGURATION
    except ConfigurationError as error:
        print(f"batchjob run: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except BatchJobError as error:
        print(f"batchjob run: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print(ending.text)
    return ending.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="batchjob run",
        description="Run a BatchJob on this machine, without a cluster.",
        epilog="Exit codes: 0 every item succeeded, 1 some failed, 64 bad input, 130 after a Ctrl-C.",
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
    parser.add_argument("--redrive", action="store_true", help="try the failed items of the last run again")
    parser.add_argument("--store", metavar="URL", help="a Redis or Valkey that runs (default: one of our own)")
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error"),
        help="which logs of workers and processors are shown (default: warning)",
    )  # fmt: skip
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1")
    return int(text)
