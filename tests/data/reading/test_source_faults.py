"""Sources that cannot be read, or no longer: one line each, with the file and the row where there is one."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from torchlogit.data.reading import bytes as byte_sources
from torchlogit.data.reading import csv_reader, pipes
from torchlogit.data.reading.source import Source, open_source
from torchlogit.errors import DataError, InputError, MissingExtraError

DEEP = 3000  # rows before a fault: many pieces


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of CSV is a few dozen rows."""
    monkeypatch.setattr(csv_reader, "READ_BYTES", 256)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    result: bytes = sink.getvalue().to_pybytes()
    return result


def parquet(rows: int, codec: str = "none") -> bytes:
    sink = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2**62, rows)
    pq.write_table(pa.table({"n": noise}), sink, row_group_size=1000, compression=codec,
                   use_dictionary=False, write_page_checksum=True)  # fmt: skip
    return sink.getvalue()


def arrow(rows: int, kind: object = ipc.new_file) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"n": np.arange(rows)})
    with kind(sink, table.schema) as file:  # type: ignore[operator]
        file.write_table(table, max_chunksize=1000)
    return sink.getvalue()


def damaged(data: bytes, place: int, by: bytes = b"\xff" * 64) -> bytes:
    return data[:place] + by + data[place + len(by) :]


def lines(rows: int, *more: str) -> bytes:
    return "\n".join(["a,b", *(f'{i},"x{i}"' for i in range(rows)), *more, ""]).encode()


def message(source: Source) -> tuple[int, str]:
    """How many rows came before the error, and the error."""
    rows = 0
    with pytest.raises(DataError) as error:  # noqa: PT012
        for block in source.blocks(rows=100):
            rows += block.table.num_rows
    assert error.value.row is None
    assert "\n" not in str(error.value)
    return rows, str(error.value)


@dataclass(frozen=True)
class Bad:
    """Files in a folder, and what reading them in blocks of 100 rows ends with, after so many rows."""

    rows: int
    message: str
    files: Mapping[str, bytes]


GZIP_CUT = gzip.compress(lines(DEEP))[:-9]
DEEP_FILES = {"1.csv": lines(200), "2.csv": lines(100)}
AGAIN = "write the file or fetch it again"
COMPLETE = "complete the row, or quote the fields that hold ','"
LATE = {
    "ragged row deep in the third file": Bad(
        300 + DEEP, f"3.csv row {DEEP + 1}: expected 2 fields and found 3 in '7,8,9'; {COMPLETE}",
        DEEP_FILES | {"3.csv": lines(DEEP, "7,8,9", "1,2")},
    ),
    "short row after blank lines and quoted line ends": Bad(
        300 + 2000, f"3.csv row 2003: expected 2 fields and found 1 in '7'; {COMPLETE}",
        DEEP_FILES | {"3.csv": lines(2000, "", '1,"\n\n"', "", '"2\n",3', "7", "1,2")},
    ),
    "encoding deep in the third file": Bad(
        300 + DEEP,
        f"3.csv row {DEEP + 2}: column 'b' is not UTF-8 text; save the file as UTF-8, for example with iconv "
        "-f latin1 -t utf-8",
        DEEP_FILES | {"3.csv": lines(DEEP, '1,"é"') + "2,René\n3,x\n".encode("latin-1")},
    ),
    "open quote deep in the third file": Bad(
        300 + DEEP,
        f"3.csv row {DEEP + 1}: a quote is opened and never closed; close it, and double the quotes inside it",
        DEEP_FILES | {"3.csv": lines(DEEP, '1,"2') + b"3,4\n" * 500},
    ),
    "gzip cut": Bad(-1, "3.csv.gz is not a whole gzip file; compress it or fetch it again", {"3.csv.gz": GZIP_CUT}),
    "zstd cut": Bad(
        -1, "3.csv.zst is not a whole zstd file; compress it or fetch it again",
        {"3.csv.zst": zstd(lines(DEEP)) + zstd(lines(DEEP))[:-9]},
    ),
    "zstd damaged": Bad(
        -1, "3.csv.zst is not a whole zstd file; compress it or fetch it again",
        {"3.csv.zst": zstd(lines(DEEP)) + b"rubbish that is no frame"},
    ),
    "svmlight deep": Bad(
        -1, f"3.svm line {DEEP + 1} place 3 holds 'x:1': expected an index, a whole number from 0, and a value, "
        "such as 7:0.5", {"3.svm": b"1 2:3\n" * DEEP + b"1 x:1\n"},
    ),
    "header only, the second of a glob": Bad(
        200, "2.csv has column names and no rows; give a file with rows", {"1.csv": lines(200), "2.csv": b"a,b\n\n"}
    ),
    "arrow without rows": Bad(0, "1.arrow has column names and no rows; give a file with rows", {"1.arrow": arrow(0)}),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE.values(), ids=LATE.keys())
def test_what_is_found_late(tmp_path: Path, case: Bad) -> None:
    for name, data in case.files.items():
        (tmp_path / name).write_bytes(data)
    source = open_source([tmp_path])
    rows, error = message(source)
    assert error == case.message
    if case.rows >= 0:
        assert case.rows - 200 < rows <= case.rows  # all but the block it is in, and the one before
    assert message(source)[1] == error  # whoever reads again


def test_rows_that_are_not_quoted_well_are_at_fault_where_they_are(tmp_path: Path) -> None:
    """Quotes within fields open nothing, and the file's end finds none open."""
    (tmp_path / "a.csv").write_bytes(lines(500, '5" pipe,6" pipe', '"7"8",9', "1,2,3"))
    error = message(open_source([tmp_path / "a.csv"]))[1]
    assert error == f"a.csv row 503: expected 2 fields and found 3 in '1,2,3'; {COMPLETE}"


EARLY = {
    "empty file in a glob": ("b.csv is empty; give a file with rows", {"a.csv": lines(5), "b.csv": b""}),
    "gzip of nothing in a glob": (
        "b.csv.gz is empty; give a file with rows", {"a.csv": lines(5), "b.csv.gz": gzip.compress(b"")},
    ),
    "other columns in a glob": (
        "b.csv has other columns than a.csv: it lacks 'b' and adds 'c'; give files with the same columns",
        {"a.csv": lines(5), "b.csv": b"a,c\n1,2\n"},
    ),
    "types that do not go together": (
        "column 'b' is string in a.csv and int64 in c.jsonl; write it as one type",
        {"a.csv": lines(5), "b.jsonl": b'{"a": "1", "b": "2"}\n', "c.jsonl": b'{"a": "1", "b": 2}\n'},
    ),
    "cut parquet": (
        "b.parquet is not a whole Parquet file; write it or fetch it again",
        {"a.parquet": parquet(10), "b.parquet": parquet(3000)[:-200]},
    ),
    "no parquet": ("b.parquet is not a whole Parquet file; write it or fetch it again", {"b.parquet": b"a,b\n1,2\n"}),
    "cut arrow": ("b.arrow is not a whole Arrow file; write it or fetch it again", {"b.arrow": arrow(3000)[:-200]}),
    "no arrow": ("b.feather is not a whole Arrow file; write it or fetch it again", {"b.feather": b"a,b\n1,2\n"}),
    "late JSON": (
        f"a.jsonl line {DEEP + 1} holds '7'; expected an object, {{...}}",
        {"a.jsonl": (json.dumps({"n": 1}) + "\n").encode() * DEEP + b"7\n"},
    ),
    "late type in JSON": (
        f"a.jsonl line {DEEP + 1}: 'n' is '\"x\"', and of another type before; write the values of a key alike",
        {"a.jsonl": (json.dumps({"n": 1}) + "\n").encode() * DEEP + b'{"n": "x"}\n'},
    ),
    "JSON without objects": ("a.jsonl is empty; give a file with rows", {"a.jsonl": b"\n \n"}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "files"), EARLY.values(), ids=EARLY.keys())
def test_what_is_found_at_once(tmp_path: Path, text: str, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        open_source([tmp_path])
    assert str(error.value) == text


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    quoted = "check the path, and quote it so that the shell leaves it alone"
    for given, text in [
        (f"{tmp_path}/*.csv", f"no file matches {tmp_path}/*.csv; {quoted}"),
        (f"{tmp_path}/x.csv", f"{tmp_path}/x.csv does not exist; check the path"),
    ]:
        with pytest.raises(DataError) as error:
            open_source([given])
        assert str(error.value) == text


# Damage


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_damage_within_a_parquet_file_is_placed_by_its_row_group(tmp_path: Path, codec: str) -> None:
    whole = parquet(3000, codec)
    (tmp_path / "a.parquet").write_bytes(damaged(whole, len(whole) // 2))
    rows, error = message(open_source([tmp_path / "a.parquet"]))
    assert rows == 1000 - 100  # the last block waits for a row after it
    assert error.startswith("a.parquet rows 1001 to 2000 are damaged (")
    assert error.endswith(f"; {AGAIN}")


def test_a_stream_of_arrow_that_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow(3000, ipc.new_stream)[:-3000])
    rows, error = message(open_source([tmp_path / "a.arrow"]))
    assert rows == 2000 - 100
    assert error.startswith("a.arrow is damaged from row 2001 on (")


# Changes between two readings


def test_a_file_that_changes_between_readings_is_told(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    (tmp_path / "a.csv").write_bytes(lines(10))
    path.write_bytes(lines(10))
    source = open_source([tmp_path])
    before = source.fingerprint()
    assert sum(block.table.num_rows for block in source.blocks()) == 20
    path.write_bytes(lines(11))
    assert message(source) == (0, "b.csv has changed since it was first read; start again with the file at rest")
    assert source.fingerprint() != before
    path.unlink()
    assert message(source) == (0, f"{path} cannot be read: No such file or directory")
    with pytest.raises(DataError, match=r"b\.csv cannot be read: No such file or directory$"):
        source.fingerprint()


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(lines(1000))
    blocks = open_source([path]).blocks(rows=10)
    next(blocks)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=r"^a\.csv has changed since it was first read; "):
        list(blocks)


def test_columns_that_do_not_exist_and_blocks_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(lines(10))
    source = open_source([tmp_path / "a.csv"])
    with pytest.raises(DataError, match=r"^a\.csv: there is no column 'aa'; did you mean 'a'\?$"):
        source.blocks(columns=["aa"])
    with pytest.raises(InputError, match="rows=0"):
        source.blocks(rows=0)


# Rows without an end, disks without room


def test_a_row_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "MAX_RECORD_BYTES", 2000)
    monkeypatch.setattr(byte_sources, "MAX_RECORD_BYTES", 2000)
    (tmp_path / "a.csv").write_bytes(lines(50) + b'1,"' + b"2,3\n" * 5000)
    assert message(open_source([tmp_path / "a.csv"]))[1].startswith("a.csv row 51: a quote is opened and never closed")
    (tmp_path / "b.csv").write_bytes(lines(50) + b"1," + b"2" * 20_000 + b"\n")
    assert message(open_source([tmp_path / "b.csv"]))[1] == "b.csv has a row of more than 0 MiB; is it CSV?"


def test_a_full_disk_under_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(10))))
    monkeypatch.setattr(pipes.os, "pwrite", full)
    monkeypatch.setattr(pipes.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(DataError) as error:
        open_source(["-"])
    assert str(error.value) == (
        f"standard input cannot be kept in {tmp_path}: No space left on device; "
        "set TMPDIR to a folder with more space, or give a file"
    )


@pytest.mark.parametrize(("data", "text"), [
    (b"", "standard input is empty; give a file with rows"),
    (b"a,b\n1,2,3\n", f"standard input row 1: expected 2 fields and found 3 in '1,2,3'; {COMPLETE}"),
    (GZIP_CUT, "standard input is not a whole gzip file; compress it or fetch it again"),
    (parquet(3000)[:-200], "standard input is not a whole Parquet file; write it or fetch it again"),
])  # fmt: skip
def test_standard_input_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, data: bytes, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(DataError) as error:
        list(open_source(["-"]).blocks())
    assert str(error.value) == text


def test_no_standard_input_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match=r"^there is no standard input to read; give a file$"):
        open_source(["-"])


def test_a_query_without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "duckdb":
            raise ImportError(name)
        return known(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'torchlogit\[sql\]'$"):
        open_source(["sql:SELECT 1"])
