"""The folder that a run leaves behind: results.jsonl and dead-letters.jsonl, each written whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from batchjob.core.ranges import Pair
from batchjob.errors import ConfigurationError, ResultsError
from batchjob.store import DeadLetter, ItemResult, Store

RESULTS: Final = "results.jsonl"
DEAD_LETTERS: Final = "dead-letters.jsonl"
UNFINISHED: Final = ".unfinished"
PAGE: Final = 500  # dead letters a round trip


class Letter(msgspec.Struct, rename="camel"):
    """A line of dead-letters.jsonl."""

    id: str
    error_class: str
    message: str
    attempts: int
    data: dict[str, Any]


class _Line(msgspec.Struct):
    """What counts of a line of results.jsonl when lines are merged."""

    id: str


def read_letters(folder: Path) -> list[Letter]:
    """The dead letters of an earlier run; ConfigurationError names the line that is wrong."""
    path = folder / DEAD_LETTERS
    try:
        return [_letter(line, f"{path}, line {number}") for number, line in enumerate(_lines(path), start=1)]
    except FileNotFoundError:
        raise ConfigurationError(f"--redrive: there is no {path}: run without --redrive first") from None


def _letter(line: bytes, where: str) -> Letter:
    try:
        return msgspec.json.decode(line, type=Letter)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{where}: no dead letter: {error}") from None


class Outcome:
    """What a run left in the store, on its way into the folder."""

    def __init__(self, store: Store, uid: str, folder: Path) -> None:
        self._store = store
        self._uid = uid
        self._folder = folder

    async def letters(self) -> list[DeadLetter]:
        """Every dead letter."""
        found: list[DeadLetter] = []
        while page := await self._store.dead_letters(self._uid, PAGE, found[-1].position + 1 if found else 0):
            found += page
        return found

    async def write(
        self, letters: Sequence[DeadLetter], redriven: Sequence[Letter] | None, *, ended: bool, results: bool
    ) -> None:
        """Replace both files; without `results`, which the run wrote elsewhere, that of the dead letters.

        `redriven`: the dead letters that this run tried again. Its results are then added to those that are there, and
        where it was stopped before it `ended`, a letter stays unless something became of it.
        """
        fresh = {name: self._folder / (name + UNFINISHED) for name in (RESULTS, DEAD_LETTERS)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with fresh[RESULTS].open("wb") as file:
                done = await self._write_results(file, {letter.id for letter in redriven or ()})
            if not results:
                fresh.pop(RESULTS).unlink()
            told = done | {letter.id for letter in letters}
            if redriven and not ended:  # results may be at a destination by now
                told |= {redriven[n].id for first, last in await self._finished() for n in range(first, last + 1)}
            with fresh[DEAD_LETTERS].open("wb") as file:
                file.writelines(_line(letter) for letter in letters)
                if not ended:
                    file.writelines(_line(letter) for letter in redriven or () if letter.id not in told)
            for name, path in fresh.items():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                path.replace(self._folder / name)
        except OSError as error:
            raise ResultsError(f"{self._folder} cannot be written: {error.strerror}") from None

    async def _finished(self) -> Sequence[Pair]:
        """Positions of the run's items that are done; those of a redrive are as in its file."""
        return await self._store.finished(self._uid) or ()

    async def _write_results(self, file: IO[bytes], redriven: set[str]) -> set[str]:
        """Write results, after those that are there of other items than the redriven; returns the ids of new ones."""
        if redriven:
            file.writelines(
                line for line in self._earlier() if msgspec.json.decode(line, type=_Line).id not in redriven
            )
        done: set[str] = set()
        async for found in self._store.results(self._uid):
            file.write(_result(found))
            if redriven:
                done.add(found.id)
        return done

    def _earlier(self) -> Iterator[bytes]:
        path = self._folder / RESULTS
        return _lines(path) if path.exists() else iter(())


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.strip())


def _result(found: ItemResult) -> bytes:
    return msgspec.json.encode({"id": found.id, "result": msgspec.Raw(found.result)}) + b"\n"


def _line(letter: DeadLetter | Letter) -> bytes:
    data = msgspec.Raw(letter.data) if isinstance(letter.data, bytes) else letter.data
    row = {
        "id": letter.id,
        "errorClass": letter.error_class,
        "message": letter.message,
        "attempts": letter.attempts,
        "data": data,
    }
    return msgspec.json.encode(row) + b"\n"
