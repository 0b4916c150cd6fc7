"""Sources: every format gives the same rows whatever the size of the blocks."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import examples
from torchlogit.data.block import Block
from torchlogit.data.concurrency import map_in_threads
from torchlogit.data.reading import csv_reader, formats, json_lines, svmlight
from torchlogit.data.reading.csv_quotes import ends_in_quotes, last_record_end
from torchlogit.data.reading.source import Source, open_source

ROWS = 101
TEXTS = ["plain", 'a "quote"', "two\nlines", "a,comma", "", "tab\tand |", "ümläut", "'", "\r\n"]


def table(first: int, rows: int = ROWS) -> pa.Table:
    """Rows whose every value tells which row it is of."""
    numbers = np.arange(first, first + rows)
    return pa.table({
        "n": numbers,
        "x": [None if i % 7 == 3 else i / 8 for i in numbers.tolist()],
        "t": [f"{TEXTS[i % len(TEXTS)]}{i}" for i in numbers.tolist()],
    })  # fmt: skip


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    packed_bytes: bytes = sink.getvalue().to_pybytes()
    return packed_bytes


def as_csv(rows: pa.Table, delimiter: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(rows.column_names)
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows.to_pylist())
    return out.getvalue().encode()


def as_tsv(rows: pa.Table) -> bytes:
    return as_csv(rows, "\t")


def as_json_lines(rows: pa.Table) -> bytes:
    lines = [{name: value for name, value in row.items() if value is not None} for row in rows.to_pylist()]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def as_svmlight(rows: pa.Table) -> bytes:
    pairs = zip(*rows.to_pydict().values(), strict=True)
    return "# a comment\n".join(f"{n % 3 - 1} 1:{n} 3:{0.0 if x is None else x}\n" for n, x in pairs).encode()


def as_parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=30)
    return sink.getvalue()


def as_arrow(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_file(sink, rows.schema) as file:
        file.write_table(rows, max_chunksize=30)
    return sink.getvalue()


def as_arrow_stream(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, rows.schema) as file:
        file.write_table(rows, max_chunksize=30)
    return sink.getvalue()


def as_feather(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(rows, sink, compression="lz4", chunksize=30)
    return sink.getvalue()


def texts(rows: pa.Table) -> dict[str, list[object]]:
    """What a file of text has: text."""
    return {name: ["" if v is None else str(v) for v in values] for name, values in rows.to_pydict().items()}


def values(rows: pa.Table) -> dict[str, list[object]]:
    found: dict[str, list[object]] = rows.to_pydict()
    return found


def vectors(rows: pa.Table) -> dict[str, list[object]]:
    numbers = rows.to_pydict()
    entries = [
        [{"index": 1, "value": float(n)}, {"index": 3, "value": 0.0 if x is None else x}]
        for n, x in zip(numbers["n"], numbers["x"], strict=True)
    ]
    return {"label": [float(n % 3 - 1) for n in numbers["n"]], "f": entries}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Case:
    """How a format is written, and what its files hold."""

    write: Callable[[pa.Table], bytes]
    holds: Callable[[pa.Table], dict[str, list[object]]] = values
    columns: tuple[str, ...] = ("n", "x", "t")

    def packed(self, pack: Callable[[bytes], bytes]) -> Case:
        return Case(lambda rows: pack(self.write(rows)), self.holds, self.columns)


def without_text(case: Case) -> Case:
    return Case(lambda rows: case.write(rows.select(["n", "x"])), case.holds, case.columns)


CASES = {
    ".csv": Case(as_csv, texts),
    ".tsv": Case(as_tsv, texts),
    ".jsonl": Case(as_json_lines),
    ".svm": without_text(Case(as_svmlight, vectors, ("label", "f"))),
    ".libsvm": without_text(Case(as_svmlight, vectors, ("label", "f"))),
    ".svmlight": without_text(Case(as_svmlight, vectors, ("label", "f"))),
}
CASES |= {suffix + ".gz": case.packed(gzip.compress) for suffix, case in CASES.items()} | {
    suffix + ".zst": case.packed(zstd) for suffix, case in CASES.items()
}
CASES |= {
    ".parquet": Case(as_parquet),
    ".arrow": Case(as_arrow),
    " stream.arrow": Case(as_arrow_stream),
    ".feather": Case(as_feather),
}
BOTH = pa.concat_tables([table(0), table(1000, 57)])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of text is a few rows, so that files of a hundred rows have many."""
    monkeypatch.setattr(csv_reader, "READ_BYTES", 100)
    monkeypatch.setattr(json_lines, "READ_BYTES", 100)
    monkeypatch.setattr(svmlight, "READ_BYTES", 100)


@pytest.fixture(params=CASES)
def given_(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Case, list[Path]]:
    """Two files of a format, the second one shorter."""
    case = CASES[request.param]
    paths = [tmp_path / f"{name}{request.param}" for name in "ab"]
    for path, rows in zip(paths, (table(0), table(1000, 57)), strict=True):
        path.write_bytes(case.write(rows))
    return case, paths


def joined(blocks: Iterator[Block]) -> dict[str, list[object]]:
    return values(pa.concat_tables([block.table for block in blocks]))


def test_rows_are_the_same_whatever_the_size_of_blocks(given_: tuple[Case, list[Path]]) -> None:
    case, paths = given_
    expected = case.holds(BOTH)
    places = [(path.name, row) for path, rows in zip(paths, (ROWS, 57), strict=True) for row in range(rows)]
    for block_rows in (1, 30, 44, 10**9):
        source = open_source(paths)
        assert source.column_names == tuple(expected) == case.columns
        blocks = list(source.blocks(rows=block_rows))
        assert joined(iter(blocks)) == expected
        assert [(block.first, len(block)) for block in blocks] == [
            (first, min(block_rows, len(places) - first)) for first in range(0, len(places), block_rows)
        ]
        assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
        assert {tuple(block.table.schema) for block in blocks} == {tuple(blocks[0].table.schema)}
        assert [block.location(row) for block in blocks for row in range(len(block))] == places
        assert joined(source.blocks(rows=block_rows)) == expected  # a second time
    loaded = open_source(paths).read()
    assert values(loaded.table) == expected
    assert loaded.table.schema == blocks[0].table.schema
    assert [loaded.location(row) for row in range(len(loaded))] == places


def test_every_format_is_among_the_cases() -> None:
    assert set(formats.FORMATS) <= set(CASES)


def test_columns_are_chosen_and_ordered(given_: tuple[Case, list[Path]]) -> None:
    case, paths = given_
    source = open_source(paths)
    chosen = case.columns[::-1][:2]
    expected = case.holds(BOTH)
    found = joined(source.blocks(columns=chosen, rows=50))
    assert found == {name: expected[name] for name in chosen}
    assert list(found) == list(chosen)
    alone = joined(source.blocks(columns=case.columns[:1]))
    assert alone == {case.columns[0]: expected[case.columns[0]]}


def test_the_order_of_columns_is_that_of_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("b,a\n4,3\n")
    (tmp_path / "c.jsonl").write_text('{"b": "6", "a": "5"}\n')
    assert joined(open_source([tmp_path]).blocks()) == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}


def test_types_that_go_together_are_one_type_in_every_block(tmp_path: Path) -> None:
    a, b, c = (pa.array([letter]).dictionary_encode() for letter in "abc")
    pq.write_table(pa.table({"x": pa.array([1], pa.int16()), "d": a}), tmp_path / "a.parquet")
    feather.write_feather(pa.table({"x": [2.5], "d": b}), str(tmp_path / "b.feather"))
    pq.write_table(pa.table({"x": pa.nulls(1), "d": c}), tmp_path / "c.parquet")
    blocks = list(open_source([tmp_path]).blocks())
    assert {block.table.schema.field("x").type for block in blocks} == {pa.float64()}
    assert joined(iter(blocks)) == {"x": [1.0, 2.5, None], "d": ["a", "b", "c"]}


def test_json_lines_take_types_and_keys_from_all_lines(tmp_path: Path) -> None:
    lines = [{"n": 1, "when": "2020-01-01"}] * 20 + [{"n": 2.5, "late": True, "when": "soon"}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    for block_rows in (1, 100):
        source = open_source([tmp_path / "a.jsonl"])
        assert joined(source.blocks(rows=block_rows)) == {
            "n": [1.0] * 20 + [2.5], "when": ["2020-01-01"] * 20 + ["soon"], "late": [None] * 20 + [True]
        }  # fmt: skip


def test_parquet_columns_of_one_name_can_be_named_anew(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    source = open_source([tmp_path / "a.parquet"], names=["x", "y"])
    assert joined(source.blocks(columns=["y", "x"])) == {"y": [2], "x": [1]}


def test_parquet_columns_with_dots_are_told_from_their_parts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a.b": [1], "a": [2]}), tmp_path / "a.parquet")
    assert joined(open_source([tmp_path / "a.parquet"]).blocks(columns=["a"])) == {"a": [2]}


# Which files


def test_globs_and_folders_are_read_by_name(tmp_path: Path) -> None:
    for name in ("10", "2", "1"):
        (tmp_path / f"{name}.csv").write_text(f"n\n{name}\n")
    (tmp_path / ".hidden.csv").write_text("n\n0\n")
    (tmp_path / "notes.txt").write_text("no table")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.csv" / "3.csv").write_text("n\n3\n")
    for data in ([tmp_path], [f"{tmp_path}/*.csv"], [str(tmp_path / "?.csv"), tmp_path / "10.csv"]):
        found = joined(open_source(data).blocks())["n"]
        assert found == (["1", "10", "2"] if len(data) == 1 else ["1", "2", "10"])
    assert joined(open_source([f"{tmp_path}/**/*.csv"]).blocks())["n"] == ["1", "10", "2", "3"]
    assert open_source([tmp_path]).files == "1.csv, 10.csv, 2.csv"


def test_a_name_with_marks_of_a_glob_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "[1].csv").write_text("n\n5\n")
    (tmp_path / "1.csv").write_text("n\n6\n")
    assert joined(open_source([tmp_path / "[1].csv"]).blocks()) == {"n": ["5"]}


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n1\n")
    os.utime(path, ns=(1, 1))
    first = open_source([path]).fingerprint()
    assert open_source([path]).fingerprint() == first
    os.utime(path, ns=(1, 2))
    later = open_source([path]).fingerprint()
    path.write_text("n\n11\n")
    os.utime(path, ns=(1, 2))
    longer = open_source([path]).fingerprint()
    assert len({first, later, longer, open_source([path, path]).fingerprint()}) == 4


def test_the_target_is_the_one_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 1:1\n")
    (tmp_path / "a.csv").write_text("label,f\n1,2\n")
    assert (open_source([tmp_path / "a.svm"]).target, open_source([tmp_path / "a.csv"]).target) == ("label", None)


# Standard input and pipes


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Source:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return open_source(["-"])


SNIFFED = [name for name in CASES if name not in (".libsvm", ".svmlight")]


@pytest.mark.parametrize("name", SNIFFED)
def test_standard_input_is_told_by_how_it_begins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    source = standard_input(monkeypatch, case.write(table(0)))
    expected = case.holds(table(0))
    blocks = list(source.blocks(rows=23))
    assert joined(iter(blocks)) == expected
    assert {block.location(0).file for block in blocks} == {"standard input"}
    assert joined(source.blocks()) == expected
    size = len(case.write(table(0)))
    assert any("kept in a temporary file" in warning and f"{size:,} bytes" in warning for warning in source.warnings)


def test_standard_input_is_read_as_it_comes_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as end, open(writing, "wb", buffering=0) as start:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(end))
        start.write(b"n\n" + b"1\n" * 200)
        source = open_source(["-"])
        blocks = source.blocks(rows=10)
        assert next(blocks).table.to_pydict() == {"n": ["1"] * 10}  # while more is to come
        start.write(b"2\n" * 200)
        start.close()
        rest = joined(blocks)["n"]
        assert rest == ["1"] * 190 + ["2"] * 200
        assert joined(source.blocks())["n"] == ["1"] * 10 + rest


def test_a_first_reading_that_ends_early_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = standard_input(monkeypatch, as_csv(table(0)))
    first = source.blocks(rows=23)
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert joined(source.blocks()) == texts(table(0))


def test_the_fingerprint_of_standard_input_is_of_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [standard_input(monkeypatch, data).fingerprint() for data in (b"n\n1\n", b"n\n1\n", b"n\n2\n", b"n\n11\n")]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "63"])
def test_a_pipe_is_read_like_standard_input(tmp_path: Path, name: str) -> None:
    case = CASES.get(name[1:], CASES[".csv"])
    path = tmp_path / name
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[case.write(table(0))])
    writer.start()
    source = open_source([path])
    for _ in range(2):
        assert joined(source.blocks()) == case.holds(table(0))
    writer.join()
    assert any(name in warning for warning in source.warnings)


# CSV: where records end


def slow_record_end(text: str) -> tuple[int, bool]:
    """Where the last record ends, and whether the text ends in a quoted field: a machine that reads byte by byte."""
    at_start, quoted, end, place = True, False, 0, 0
    while place < len(text):
        mark = text[place]
        if quoted:
            if mark == '"' and text[place + 1 : place + 2] == '"':
                place += 1
            elif mark == '"':
                quoted = False
        elif mark == '"' and at_start:
            quoted = True
        elif mark == "\n":
            end = place + 1
        at_start = not quoted and mark in ",\n\r"
        place += 1
    return end, quoted


@examples(500)
@given(st.text(alphabet='a,"\n', max_size=30).map(lambda text: text + "\n"))
def test_records_end_where_a_machine_that_reads_byte_by_byte_says(text: str) -> None:
    end, quoted = slow_record_end(text)
    assert last_record_end(text.encode(), ",") == end
    assert ends_in_quotes(text.encode(), ",") == quoted


@examples(150)
@given(st.text(alphabet='ab"\n\r', max_size=60).filter(lambda text: "a" in text))
def test_pieces_of_csv_read_as_the_whole_does(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    whole = "n\n" + text
    if ends_in_quotes(whole.encode(), ","):
        return
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(whole.encode())
    expected = pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types={"n": pa.string()}),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "READ_BYTES", 1)
        assert joined(open_source([path]).blocks())["n"] == expected["n"].to_pylist()


def test_lines_may_end_in_a_carriage_return(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\r" + b'1,"x\ry"\r' * 100)
    assert joined(open_source([tmp_path / "a.csv"]).blocks()) == {"a": ["1"] * 100, "b": ["x\ry"] * 100}


def test_a_mark_of_utf_8_within_a_file_is_text(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a.csv").write_bytes(mark + b"a,b\n" + (mark + b"1,2\n") * 50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "READ_BYTES", 1)
        assert joined(open_source([tmp_path / "a.csv"]).blocks()) == {"a": ["\ufeff1"] * 50, "b": ["2"] * 50}


# Threads


def test_results_come_in_order_and_a_failure_after_what_was_drawn_before_it() -> None:
    def failing() -> Iterator[int]:
        yield from range(50)
        raise ValueError("no more")

    results = map_in_threads(lambda item: item * 2, failing(), max_pending=7)
    assert list(itertools.islice(results, 50)) == list(range(0, 100, 2))
    with pytest.raises(ValueError, match="no more"):
        next(results)


def test_no_more_is_drawn_than_is_asked_for() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    results = map_in_threads(str, items(), max_pending=3)
    next(results)
    assert drawn <= 4
    before = threading.active_count()
    results.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 5
    while threading.active_count() >= before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() < before


def test_a_closed_reader_does_not_wait_for_its_threads() -> None:
    """The garbage collector may close it at any moment, while the lock is held that the end of a thread waits for."""
    drawn, begun, go_on = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield from (0, 1)
        drawn.set()
        yield 2

    def parsed(item: int) -> int:
        if item > 0:
            begun.set()
        assert (go_on if item > 0 else drawn).wait(10)
        return item

    results = map_in_threads(parsed, items(), max_pending=2)
    assert next(results) == 0
    assert begun.wait(5)
    closing = threading.Thread(target=results.close, daemon=True)  # type: ignore[attr-defined]
    closing.start()
    closing.join(5)
    waits = closing.is_alive()
    go_on.set()
    assert not waits
