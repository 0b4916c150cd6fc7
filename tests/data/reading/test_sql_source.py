"""Queries as sources: DuckDB's rows, in an order that does not change, from any row on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torchlogit.data.reading.source import Source, open_source
from torchlogit.errors import DataError

duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'torchlogit[sql]'")

ROWS = 200_000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A Parquet file of many row groups, its rows in no order."""
    n = np.random.default_rng(0).permutation(ROWS)
    pq.write_table(pa.table({"n": n, "t": pa.array(map(str, n % 7))}), tmp_path / "a.parquet", row_group_size=5000)
    return tmp_path / "a.parquet"


def rows(source: Source) -> pa.Table:
    return pa.concat_tables([block.table for block in source.blocks(rows=1000)])


def test_a_scan_comes_in_the_order_of_the_file_each_time(large: Path) -> None:
    source = open_source([f"sql:SELECT n, t FROM '{large}' WHERE n % 3 <> 1"])
    whole = pq.read_table(large)
    expected = whole.filter(pa.compute.not_equal(pa.array(whole["n"].to_numpy() % 3), 1))
    for _ in range(3):
        assert rows(source).equals(expected)
    assert source.files == "the query"
    assert source.column_names == ("n", "t")
    (first, *_) = source.blocks(columns=["t"], rows=1000)
    assert first.table.equals(expected.select(["t"]).slice(0, 1000))


def test_an_order_that_is_asked_for_is_kept(large: Path) -> None:
    query = f"sql:SELECT t, sum(n)::BIGINT AS total FROM '{large}' GROUP BY t ORDER BY t DESC"
    found = open_source([query]).read().table.to_pydict()
    n = np.arange(ROWS)
    rest = range(6, -1, -1)
    assert found == {"t": [str(t) for t in rest], "total": [int(n[n % 7 == t].sum()) for t in rest]}


def test_a_query_may_attach_a_database_and_set_things_first(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "people.db")) as connection:
        connection.execute("CREATE TABLE people AS SELECT * FROM (VALUES (39, 'clerk'), (50, NULL)) AS rows (age, job)")
    first = f"SET threads = 1; ATTACH '{tmp_path}/people.db' AS db (READ_ONLY)"
    query = f"sql:{first}; SELECT * FROM db.people ORDER BY age;"
    source = open_source([query])
    for _ in range(2):
        assert rows(source).to_pydict() == {"age": [39, 50], "job": ["clerk", None]}
    assert source.fingerprint() != open_source([query + " "]).fingerprint()
    assert source.fingerprint() == open_source([query]).fingerprint()


def test_a_query_joins_files_of_other_formats(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"age": 20, "job": "smith"}\n')
    found = open_source(["sql:SELECT 39 AS age, 'clerk' AS job", tmp_path / "b.jsonl"]).read()
    assert found.table.to_pydict() == {"age": [39, 20], "job": ["clerk", "smith"]}
    assert found.location(1) == ("b.jsonl", 0)


FAULTS = {
    "no table": ("SELECT * FROM nowhere", "the query failed: Catalog Error: Table with name nowhere does not exist!"),
    "no SQL": ("SELEC 1", 'the query failed: Parser Error: syntax error at or near "SELEC"'),
    "no rows": ("SELECT 1 AS a WHERE false", "the query has column names and no rows; give a file with rows"),
    "no query": (" ", "the query gives no rows; let it end in a SELECT, such as SELECT * FROM 'a.parquet'"),
    "no select": ("CREATE TABLE t (a INT)", "the query gives no rows; let it end in a SELECT"),
    "a value that is none": (
        "SELECT CASE WHEN range < 150000 THEN 1 ELSE ('x' || range)::INT END AS a FROM range(200000)",
        "the query failed: ",
    ),
}


@pytest.mark.parametrize(("query", "text"), FAULTS.values(), ids=FAULTS.keys())
def test_a_query_that_fails(query: str, text: str) -> None:
    with pytest.raises(DataError) as error:
        list(open_source([f"sql:{query}"]).blocks())
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)
