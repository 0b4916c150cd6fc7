"""Sources on real files: what is read in blocks is what other libraries read whole."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_svmlight_file

from commands import torchlogit
from places import DATA, ROOT
from torchlogit.data.reading.source import open_source

ADULT = ROOT / "examples" / "adult"
SHARED = DATA


def rows_of(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def test_adult_in_blocks_is_what_python_reads() -> None:
    source = open_source([f"{ADULT}/*.csv.gz"])
    files = [rows_of(path) for path in sorted(ADULT.glob("*.csv.gz"))]
    expected = [row for header, *rows in files for row in rows]
    blocks = list(source.blocks(rows=10_000))
    found = [list(row.values()) for block in blocks for row in block.table.to_pylist()]
    assert found == expected
    assert source.column_names == tuple(files[0][0])
    assert [block.table.num_rows for block in blocks] == [10_000, 10_000, 10_000, 10_000, 8_842]
    assert blocks[1].location(6_280) == ("adult-test.csv.gz", 16_280)
    assert blocks[1].location(6_281) == ("adult-train.csv.gz", 0)
    again = pa.concat_tables([block.table for block in source.blocks(columns=["age"])])
    assert again["age"].to_pylist() == [row[0] for row in expected]


def test_adult_gives_the_same_model_from_whatever_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = gzip.decompress((ADULT / "adult-test.csv.gz").read_bytes())
    table = pa.concat_tables([block.table for block in open_source([ADULT / "adult-test.csv.gz"]).blocks()])
    (tmp_path / "plain.csv").write_bytes(text)
    pq.write_table(table, tmp_path / "columns.parquet", row_group_size=5000)
    with pa.OSFile(str(tmp_path / "t.csv.zst"), "wb") as file, pa.CompressedOutputStream(file, "zstd") as packed:
        packed.write(text)
    parts = tmp_path / "parts"
    parts.mkdir()
    for place, first in enumerate(range(0, len(table), 6000)):
        pq.write_table(table.slice(first, 6000), parts / f"part-{place}.parquet")
    models = []
    for data in ("plain.csv", "columns.parquet", "t.csv.zst", "parts", "parts/*.parquet", "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        options = ("--target", "income", "-o", "m.safetensors", "--tol", "1e-3", "--quiet")
        ended = torchlogit(tmp_path, "train", data, *options)
        assert (ended.code, ended.stderr) == (0, "")
        models.append((tmp_path / "m.safetensors").read_bytes())
    assert len(set(models)) == 1


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data folder beside the project")
def test_a9a_in_blocks_is_what_scikit_learn_reads(tmp_path: Path) -> None:
    for name in ("a9a", "a9a.t"):
        shutil.copy(SHARED / "libsvm" / name, tmp_path / f"{name}.svm")
    source = open_source([tmp_path])
    assert source.target == "label"
    start = 0
    expected = [load_svmlight_file(str(tmp_path / f"{name}.svm"), n_features=123) for name in ("a9a", "a9a.t")]
    targets = np.concatenate([y for _, y in expected])
    entries = np.concatenate([X.indices for X, _ in expected])
    for block in source.blocks(rows=7000):
        rows = block.table.num_rows
        np.testing.assert_array_equal(block.table["label"].to_numpy(), targets[start : start + rows])
        start += rows
    assert start == len(targets) == 48_842
    vectors = pa.concat_tables([block.table for block in source.blocks(columns=["f"])])["f"].combine_chunks()
    np.testing.assert_array_equal(vectors.flatten().field("index").to_numpy() - 1, entries)
