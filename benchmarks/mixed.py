"""Generates a table of any length: 18 numeric and 12 categorical columns, some with missing values, and a target.

    python -m benchmarks.mixed --rows 2e7 --folder F --formats parquet,csv,vw

writes the same rows to F/mixed-20000000.parquet, .csv and .vw (Vowpal Wabbit's format), and 250,000 other rows to
measure on to F/mixed-valid.parquet and so on. Rows are made in chunks, each from its own seed, so that a longer table
begins with the rows of a shorter one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

CHUNK = 250_000  # rows
LEVELS = (2, 3, 3, 4, 5, 6, 8, 12, 16, 24, 36, 50)  # of the categorical columns
WITH_GAPS = {"n4": 0.02, "n9": 0.3, "n14": 0.1, "c3": 0.05, "c8": 0.2}  # shares of missing values
VALID = 1_000_000  # the number of the chunk to measure on, which no table reaches
BASE_RATE = -1.6  # the mean of the log-odds: about a quarter of the rows are positive


Tables = Iterator[pa.Table]


def tables(rows: int) -> Tables:
    """The table with this many rows, in chunks."""
    for chunk in range(-(-rows // CHUNK)):
        yield _table(chunk).slice(0, min(CHUNK, rows - chunk * CHUNK))


def others() -> Tables:
    """Rows to measure on, which are in no table."""
    yield _table(VALID)


def _table(chunk: int) -> pa.Table:
    random, truth = np.random.default_rng([7, chunk]), np.random.default_rng(11)
    columns: dict[str, pa.Array] = {}
    odds = np.full(CHUNK, BASE_RATE)
    for j in range(18):
        normal = random.standard_normal(CHUNK)
        odds += truth.normal(scale=0.25) * normal
        columns[f"n{j}"] = pa.array(_number(j, normal))
    for j, levels in enumerate(LEVELS):
        share = 1 / np.arange(1, levels + 1)
        codes = np.searchsorted(np.cumsum(share / share.sum()), random.random(CHUNK)).astype(np.int32)
        odds += truth.normal(scale=0.4, size=levels)[codes]
        names = pa.array([f"{'abcdefghijkl'[j]}{level}" for level in range(levels)])
        columns[f"c{j}"] = pa.DictionaryArray.from_arrays(pa.array(codes), names).cast(pa.string())
    for name, share in WITH_GAPS.items():
        gone = pa.array(random.random(CHUNK) < share)
        columns[name] = pc.if_else(gone, pa.scalar(None, columns[name].type), columns[name])
    chance = 1 / (1 + np.exp(-odds))
    columns["bought"] = pa.array((random.random(CHUNK) < chance).astype(np.int8))
    return pa.table(columns)


def _number(j: int, normal: np.ndarray) -> np.ndarray:
    """The j-th numeric column, of six kinds in turn: normal, amounts, counts, prices, seconds since 1970, shares."""
    kinds: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda x: np.round(x, 4),
        lambda x: np.round(np.exp(1.2 * x + 4), 2),
        lambda x: np.floor(np.exp(0.7 * x + 2)).astype(np.int32),
        lambda x: np.round(30000 + 12000 * x, -2),
        lambda x: (1.6e9 + 4e7 * x).astype(np.int64),
        lambda x: np.round(1 / (1 + np.exp(-x)), 5),
    )
    return kinds[j % len(kinds)](normal)


def write_parquet(tables: Tables, path: Path) -> None:
    """Write Parquet, one row group for each chunk."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_csv(tables: Tables, path: Path) -> None:
    """Write CSV with a header; missing values are empty."""
    with open(path, "wb") as file:
        for i, table in enumerate(tables):
            pacsv.write_csv(table, file, pacsv.WriteOptions(include_header=i == 0, quoting_style="none"))


def write_vw(tables: Tables, path: Path) -> None:
    """Write lines `1 |n n0:.. n1:.. |c c0=a1 ...`: missing values left out, numbers standardised, as VW needs them."""
    first = _table(0)
    numbers = [name for name in first.column_names if name[0] == "n"]
    means = {name: pc.mean(first[name]) for name in numbers}
    spreads = {name: pc.stddev(first[name]) for name in numbers}
    with open(path, "wb") as file:
        for table in tables:
            label = pc.if_else(pc.equal(table["bought"], 1), "1 |n", "-1 |n")
            parts = [label.combine_chunks()]
            for name in table.column_names[:-1]:
                column = table[name].combine_chunks()
                if name in means:
                    column = pc.round(pc.divide(pc.subtract(column, means[name]), spreads[name]), 4)
                text = column.cast(pa.string())
                known = pc.binary_join_element_wise(f" {name}{':' if name[0] == 'n' else '='}", text, "")
                if name == "c0":
                    parts.append(pa.array([" |c"] * len(table)))
                parts.append(pc.fill_null(known, ""))
            lines = pc.binary_join_element_wise(*parts, "\n", "")
            file.write("".join(lines.to_pylist()).encode())


WRITERS = {"parquet": write_parquet, "csv": write_csv, "vw": write_vw}


def make(rows: int, folder: Path, suffix: str) -> tuple[Path, Path]:
    """The paths of the table and of the rows to measure on; files that do not exist yet are written."""
    pair = folder / f"mixed-{rows}.{suffix}", folder / f"mixed-valid.{suffix}"
    for path, some in zip(pair, (lambda: tables(rows), others), strict=True):
        if not path.exists():
            WRITERS[suffix](some(), path)
    return pair


def main() -> None:
    """Write the files that do not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--formats", default="parquet,csv")
    given = parser.parse_args()
    for suffix in given.formats.split(","):
        for path in make(int(given.rows), given.folder, suffix):
            print(path, f"{path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
