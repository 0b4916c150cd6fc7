"""A table of any length to train on: 18 columns of numbers, 12 of categories, missing values in some, and a target.

    python -m benchmarks.mixed --rows 2e7 --folder F --formats parquet,csv,vw

writes F/mixed-20000000.parquet, .csv, and .vw, the same rows as Vowpal Wabbit reads them, and 250,000 others to measure
on, F/mixed-valid.parquet and so on. Rows are made in chunks, each from a seed of its own: the first rows of a longer
table are those of a shorter one.
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

CHUNK = 250_000
LEVELS = (2, 3, 3, 4, 5, 6, 8, 12, 16, 24, 36, 50)
WITH_GAPS = {"n4": 0.02, "n9": 0.3, "n14": 0.1, "c3": 0.05, "c8": 0.2}
VALID = 1_000_000  # a chunk beyond any table's
BASE_RATE = -1.6  # of the log-odds: about a quarter of the rows are positive


Tables = Iterator[pa.Table]


def tables(rows: int) -> Tables:
    """The table, a chunk at a time."""
    for chunk in range(-(-rows // CHUNK)):
        yield _table(chunk).slice(0, min(CHUNK, rows - chunk * CHUNK))


def others() -> Tables:
    """Rows that no table has."""
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
    """Numbers of six kinds: as they come, amounts, counts, prices, seconds since 1970, shares."""
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
    """One row group a chunk."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_csv(tables: Tables, path: Path) -> None:
    """With a header, missing values empty."""
    with open(path, "wb") as file:
        for i, table in enumerate(tables):
            pacsv.write_csv(table, file, pacsv.WriteOptions(include_header=i == 0, quoting_style="none"))


def write_vw(tables: Tables, path: Path) -> None:
    """`1 |n n0:.. n1:.. |c c0=a1 ...`, what is missing left out, numbers standardised by hand as VW's users have to."""
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
    """The table's file and that of the others, written where they are not there yet."""
    pair = folder / f"mixed-{rows}.{suffix}", folder / f"mixed-valid.{suffix}"
    for path, some in zip(pair, (lambda: tables(rows), others), strict=True):
        if not path.exists():
            WRITERS[suffix](some(), path)
    return pair


def main() -> None:
    """Writes the files that are not there yet."""
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
