"""How much a source may cost a worker: caps on size, depth and time, all in one place.

There is none on the ratio of compression, because nothing is ever unpacked: a compressed file is refused.
"""

from typing import Final

from batchjob.errors import InvalidSource, SourceUnreachable

SOURCE_BYTES: Final = 1024**3  # largest source: an endless one must end somewhere
RECORD_BYTES: Final = 1024 * 1024  # longest record: a file without line ends must not fill the memory
ARRAY_BYTES: Final = 64 * 1024 * 1024  # largest JSON array, since it is read whole
DEPTH: Final = 200  # levels of JSON: far below what Python can recurse, whoever encodes or copies it later
BLOCK_BYTES: Final = 256 * 1024  # read at once
TOGETHER: Final = 64  # records of a file handed on at once: each may have 1 MiB
READ_SECONDS: Final = 3600.0  # for the whole source: a server that drips must not hold a run for ever
SILENCE_SECONDS: Final = 60.0  # to connect, and between two blocks
STATEMENT_SECONDS: Final = 600  # until a database has the first rows of a query, or the next ones

BAD_ITEMS_SHOWN: Final = 10  # with line and reason; the others are only counted
BAD_ITEM_CHARACTERS: Final = 200  # of a reason


def check_cost(name: str, size: int, seconds: float) -> None:
    """Raises InvalidSource or SourceUnreachable where what was read so far is too much, or took too long."""
    if size > SOURCE_BYTES:
        raise InvalidSource(f"larger than {SOURCE_BYTES >> 20} MiB, the most a source may have")
    check_time(name, seconds)


def check_time(name: str, seconds: float) -> None:
    """Raises SourceUnreachable where reading has taken too long."""
    if seconds > READ_SECONDS:
        raise SourceUnreachable(f"{name} was not read within {READ_SECONDS:.0f} s, the longest that a source may take")
