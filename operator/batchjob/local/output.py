"""The folder that a run leaves behind: results.jsonl and dead-letters.jsonl, each written whole or not at all."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from batchjob.errors import ConfigurationError, ResultsError
from batchjob.store import DeadLetter, ItemResult, Store

RESULTS: Final = "results.jsonl"
DEAD_LETTERS: Final = "dead-letters.jsonl"
UNFINISHED: Final = ".unfinished"
NOT_DONE: Final = "not-done"  # in the place of an error class: nothing was wrong with it
STOPPED: Final = "the run was stopped before this item was done"


class Letter(msgspec.Struct, rename="camel"):
    """A line of dead-letters.jsonl."""

    id: str
    error_class: str
    message: str
    attempts: int
    data: msgspec.Raw  # an object, and decoded once it is loaded: a stopped run may leave a million of them


class _Line(msgspec.Struct):
    """What counts of a line of results.jsonl when lines are merged."""

    id: str


def read_letters(folder: Path) -> list[Letter]:
    """The dead letters of an earlier run; ConfigurationError names the line that is wrong."""
    path = folder / DEAD_LETTERS
    found: dict[str, Letter] = {}
    try:
        for number, line in enumerate(_lines(path), start=1):
            letter = _letter(line, f"{path}, line {number}")
            if found.setdefault(letter.id, letter) is not letter:
                raise ConfigurationError(f"{path}, line {number}: id {letter.id!r} is there twice: remove a line")
    except FileNotFoundError:
        raise ConfigurationError(f"--redrive: there is no {path}: run without --redrive first") from None
    except OSError as error:
        raise ConfigurationError(f"--redrive: {path} cannot be read: {error.strerror}") from None
    return list(found.values())


def _letter(line: bytes, where: str) -> Letter:
    try:
        letter = msgspec.json.decode(line, type=Letter)
        msgspec.json.decode(letter.data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: is no dead letter: {error}. Mend the line, or remove it") from None
    return letter


class Output:
    """What a run left in the store, on its way into the folder."""

    def __init__(self, store: Store, uid: str, folder: Path) -> None:
        self._store = store
        self._uid = uid
        self._folder = folder

    def letters(self) -> AsyncIterator[DeadLetter]:
        """Every dead letter."""
        return self._store.run(self._uid, "output").dead_letters()

    async def write(self, redriven: set[str], *, results: bool) -> None:
        """Replace both files; without `results`, which the run wrote elsewhere, that of the dead letters.

        `redriven`: ids of the dead letters that this run tried again. Its results are added to those that are there.
        """
        fresh = {DEAD_LETTERS: self._folder / (DEAD_LETTERS + UNFINISHED)}
        if results:
            fresh[RESULTS] = self._folder / (RESULTS + UNFINISHED)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if results:
                with fresh[RESULTS].open("wb") as file:
                    await self._write_results(file, redriven)
            with fresh[DEAD_LETTERS].open("wb") as file:
                async for letter in self.letters():
                    file.write(_line(letter))
            for path in fresh.values():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            for name, path in fresh.items():
                path.replace(self._folder / name)
        except OSError as error:
            raise ResultsError(f"{self._folder} cannot be written: {error.strerror}") from None
        finally:  # the store may die meanwhile
            with contextlib.suppress(OSError):
                for path in fresh.values():
                    path.unlink(missing_ok=True)

    async def _write_results(self, file: IO[bytes], redriven: set[str]) -> None:
        """Write results, after those that are there of other items than the redriven."""
        if redriven:
            file.writelines(
                line for line in self._earlier() if msgspec.json.decode(line, type=_Line).id not in redriven
            )
        async for found in self._store.results(self._uid):
            file.write(_result(found))

    def _earlier(self) -> Iterator[bytes]:
        path = self._folder / RESULTS
        return _lines(path) if path.exists() else iter(())


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.strip())


def _result(found: ItemResult) -> bytes:
    return msgspec.json.encode({"id": found.id, "result": msgspec.Raw(found.result)}) + b"\n"


def _line(letter: DeadLetter) -> bytes:
    row = {
        "id": letter.id,
        "errorClass": NOT_DONE if letter.message == STOPPED else letter.error_class,
        "message": letter.message,
        "attempts": letter.attempts,
        "data": msgspec.Raw(letter.data),
    }
    return msgspec.json.encode(row) + b"\n"
