"""Processors of modules that are not installed: made known to the workers by entry points of their own.

An entry point is a line in a folder on the import path. So a worker finds these processors as it finds any others,
and nothing about them is special to a run without a cluster.
"""

import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Final

from batchjob.errors import ConfigurationError
from batchjob.worker import Processor
from batchjob.worker.processor import GROUP

_DISTRIBUTION: Final = "batchjob_run-0.dist-info"
_WORD_BEGINS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FORM: Final = "--processors takes module, module:Class or name=module:Class"


def find_processors(options: Sequence[str]) -> dict[str, str]:
    """Name → `module:Class` of each `--processors`; ConfigurationError where there is none.

    The current directory is importable, as it is for a script that lies in it.
    """
    if options:
        _check_names(Path.cwd())
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
    found: dict[str, str] = {}
    for option in options:
        for name, target in _named(option):
            if found.setdefault(name, target) != target:
                raise ConfigurationError(
                    f"--processors: {found[name]} and {target} would both be {name!r}: "
                    "name one of them by name=module:Class"
                )
    return found


def _check_names(folder: Path) -> None:
    """A file such as email.py would be what every worker imports in the place of Python's own, and fails with."""
    for path in (*folder.glob("*.py"), *folder.glob("*/__init__.py")):
        name = path.parent.name if path.stem == "__init__" else path.stem
        if name in sys.stdlib_module_names and name in sys.modules:
            raise ConfigurationError(f"--processors: {path} hides Python's own module {name}: give it another name")


def _named(option: str) -> Iterator[tuple[str, str]]:
    name, _, target = option.rpartition("=")
    module_name, _, class_name = target.partition(":")
    if not module_name or module_name.startswith(".") or (name and not class_name):
        raise ConfigurationError(f"--processors {option}: {_FORM}")
    module = _import(module_name)
    if not class_name:
        yield from ((kebab_case(each), f"{module_name}:{each}") for each in _classes(module))
        return
    found = getattr(module, class_name, None)
    if not _is_processor(found):
        if isinstance(found, type) and issubclass(found, Processor):
            raise ConfigurationError(
                f"--processors {option}: {target} is a Processor without `process` or `process_many`: define one"
            )
        raise ConfigurationError(f"--processors {option}: {module_name} has no Processor of the name {class_name}")
    yield name or kebab_case(class_name), target


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"--processors: {name} cannot be imported:\n{_told()}") from None
        hint = f" (write {name.removesuffix('.py')}, without .py)" if name.endswith(".py") else ""
        raise ConfigurationError(
            f"--processors: there is no module {name} in {Path.cwd()} or installed{hint}"
        ) from None
    except (Exception, SystemExit):  # noqa: BLE001 - a module may raise anything; its author sees the traceback
        raise ConfigurationError(f"--processors: {name} cannot be imported:\n{_told()}") from None


def _told() -> str:
    """The traceback of the error in hand, from the module's own first line on."""
    kind, error, trace = sys.exc_info()
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(kind, error, trace)).rstrip()


def _is_machinery(file: str) -> bool:
    return file in {__file__, importlib.__file__} or file.startswith("<frozen importlib")


def _classes(module: ModuleType) -> list[str]:
    own = [
        name
        for name, found in vars(module).items()
        if _is_processor(found) and found.__module__ == module.__name__ and not name.startswith("_")
    ]
    if not own:
        raise ConfigurationError(
            f"--processors: {module.__name__} has no class that is a Processor with `process` or `process_many`"
        )
    return own


def _is_processor(found: object) -> bool:
    return (
        isinstance(found, type)
        and issubclass(found, Processor)
        and (found.process is not Processor.process or found.process_many is not Processor.process_many)
    )


def kebab_case(name: str) -> str:
    """`Fingerprint` → `fingerprint`, `HTTPFetch` → `http-fetch`."""
    return _WORD_BEGINS.sub("-", name).replace("_", "-").lower()


def check_known(name: str, given: dict[str, str]) -> None:
    """ConfigurationError where neither an installed package nor `given` has a processor of that name."""
    known = {point.name for point in entry_points(group=GROUP)} | set(given)
    if name not in known:
        raise ConfigurationError(
            f"spec.custom.processor: there is no processor {name!r}; there are: {', '.join(sorted(known))}. "
            "Name the module of yours by --processors module"
        )


def write_entry_points(found: dict[str, str], folder: Path) -> None:
    """Make them entry points of whoever has `folder` on the import path."""
    place = folder / _DISTRIBUTION
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: batchjob-run\nVersion: 0\n")
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in found.items())]
    (place / "entry_points.txt").write_text("\n".join(lines) + "\n")
