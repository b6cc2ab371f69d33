"""CSV that PostgreSQL's own COPY writes: byte for byte what the export makes of the same values."""

import csv
import io
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batchjob.api.blocks.export import Column, Compression, Export
from batchjob.api.source import Sql
from batchjob.errors import InvalidSource
from batchjob.worker.sources.sql_ranges import Values, read_range
from batchjob_processors.encoders import build_encoder
from batchjob_processors.parts import StreamedPart
from tests.prove.processors.exports import NOTES
from tests.support.postgres_server import PostgresServer

CELLS = (
    *(cell for cell in NOTES if cell is not None),
    *(
        "=1+1",
        "+",
        "+5",
        "-1e5",
        "-1e",
        "-0.",
        "-.5",
        ".5",
        "-1\n",
        "+1 ",
        "-\u0661",
        "@",
        "\r",
        "a\rb",
        "a,b",
        "''",
        "\\.",
    ),
)
# Types whose text by a cast is another one than what PostgreSQL shows, or that are shown by its settings.
TYPED = """
    n AS id, c AS cell, n % 2 = 0 AS yes, NULLIF(n, 3) / 3.0 AS share, ('x' || n)::char(5) AS padded,
    CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE '-1.5e300' END::float8 AS wide,
    json_build_object('k', c) AS document, '10.0.0.1/32'::inet AS address, '\\x00ff'::bytea AS raw,
    n * interval '1 h' AS lasts, ROW(n, c) AS pair, timestamptz '2026-02-28 10:00:00.25+02' AS seen,
    timestamp 'infinity' AS ends, date '2026-01-01' AS day,
    B'101' AS bits, '-5'::money AS price, NULL::text AS nothing, '' AS blank, NULLIF(n % 2 = 0, true) AS perhaps
"""


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> Sql:
    postgres.execute(
        "DROP TABLE IF EXISTS cells",
        "CREATE TABLE cells (n int, c text)",
        *(f"INSERT INTO cells VALUES ({n}, {quoted(cell)})" for n, cell in enumerate(CELLS)),
        "INSERT INTO cells VALUES (1000, NULL), (1001, repeat(E'\"\\n=', 400000))",
    )
    (tmp_path / "dsn").write_text(postgres.dsn)
    return query(f"SELECT {TYPED} FROM cells -- all of it")


def quoted(cell: str) -> str:
    return "'" + cell.replace("'", "''") + "'"


def query(text: str) -> Sql:
    return Sql.model_validate({"dsnSecretRef": {"name": "x", "key": "dsn"}, "query": text, "partitionBy": "id"})


async def written(place: Sql, folder: Path, values: Values, **block: Any) -> tuple[bytes, dict[str, Any], bool]:
    """A part, what is said of it, and whether COPY wrote its lines."""
    export = Export.model_validate({"format": "csv", "destination": {"url": "file:///x"}} | block)
    async with read_range(place, folder, {}, None, values) as rows:
        columns = [Column.model_construct(name=name) for name in rows.names]
        part = StreamedPart(build_encoder(export, columns, rows.kinds, of_lines=rows.are_lines), columns)
        body = b"".join([piece async for piece in part.pieces(rows.batches)])
        return body, part.fields, rows.are_lines


@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize("block", [{}, {"bom": True}, {"compression": Compression.GZIP}], ids=str)
async def test_lines_of_the_database_are_those_of_the_encoder(
    place: Sql, tmp_path: Path, escape: bool, block: dict[str, Any]
) -> None:
    ours, said, _ = await written(place, tmp_path, "text", escapeFormulas=escape, **block)
    lines, told, are_lines = await written(
        place, tmp_path, "csv-escaped" if escape else "csv", escapeFormulas=escape, **block
    )
    assert are_lines
    assert lines == ours or block.get("compression"), "packed in other pieces, a file has other bytes"
    assert told["rows"] == said["rows"] == len(CELLS) + 2
    assert said["emptyColumns"] == ["nothing"]
    assert told["emptyColumns"] == ["nothing", "blank"], "in CSV an empty text is nothing"


async def test_hostile_cells_come_back_as_they_were(place: Sql, tmp_path: Path) -> None:
    body, _, _ = await written(place, tmp_path, "csv", escapeFormulas=False)
    csv.field_size_limit(2**24)
    found = list(csv.reader(io.StringIO(body.decode(), newline="")))
    assert [row[1] for row in found[1:]] == [*CELLS, "", '"\n=' * 400_000]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT c AS id FROM cells",
        "SELECT '\\.' AS id UNION SELECT ''",
        "SELECT n AS id, ARRAY[c, NULL, 'a,b'] AS list, ARRAY[n] AS numbers FROM cells",
    ],
)
async def test_copy_is_left_out_where_a_line_would_be_empty_or_a_list_no_json(
    place: Sql, tmp_path: Path, text: str
) -> None:
    del place
    lines, _, are_lines = await written(query(text), tmp_path, "csv-escaped")
    assert not are_lines
    assert lines == (await written(query(text), tmp_path, "text"))[0]


async def test_no_row_is_no_batch(place: Sql, tmp_path: Path) -> None:
    body, said, _ = await written(query("SELECT n AS id, c FROM cells WHERE false"), tmp_path, "csv")
    assert (body, said["rows"]) == (b"id,c\r\n", 0)
    del place


async def test_a_query_that_fails_on_its_way_ends_with_the_databases_words(place: Sql, tmp_path: Path) -> None:
    del place
    with pytest.raises(InvalidSource, match=r"spec.source.sql.query: division by zero \(SQLSTATE 22012\)"):
        await written(query("SELECT n AS id, 1 / (1001 - n) AS share FROM cells"), tmp_path, "csv")


async def test_who_goes_in_the_midst_of_it_leaves_no_query_behind(
    postgres: PostgresServer, place: Sql, tmp_path: Path
) -> None:
    del place
    long = query("SELECT n AS id, repeat('x', 10000) AS c FROM generate_series(1, 3000) n")
    async with read_range(long, tmp_path, {}, None, "csv") as rows:
        assert await anext(rows.batches)
    with psycopg.connect(postgres.dsn) as connection:
        running = b"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batchjob' AND state = 'active'"
        assert connection.execute(running).fetchone() == (0,)
