"""Files and frames become Arrow tables, rows keep their place, and columns read as numbers or levels."""

from __future__ import annotations

import csv
import decimal
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchlogit.data.columns import MISSING_TOKENS, as_levels, as_numbers, first_not_number, missing_as_null
from torchlogit.data.reading.source import open_source
from torchlogit.data.reading.tables import table_from
from torchlogit.errors import DataError

ROWS = {"age": ["39", "50"], "job": ["clerk", "?"]}


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


# Files


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"age,job\n39,clerk\n50,?\n"),
        ("a.CSV", b"age,job\n39,clerk\n50,?\n"),
        ("a.csv.gz", gzip.compress(b"age,job\n39,clerk\n50,?\n", mtime=0)),
        ("a.tsv", b"age\tjob\n39\tclerk\n50\t?\n"),
        ("a.tsv.gz", gzip.compress(b"age\tjob\n39\tclerk\n", mtime=0) + gzip.compress(b"50\t?\n", mtime=0)),
        ("bom.csv", b"\xef\xbb\xbfage,job\n39,clerk\n50,?\n"),
        ("padded.csv", b" age , job\n39,clerk\n50,?\n"),
        ("quoted.csv", b'"age","job"\r\n"39","clerk"\r\n"50","?"\r\n'),
        ("no_last_newline.csv", b"age,job\n39,clerk\n50,?"),
        ("blank_lines.csv", b"\n\nage,job\n\n39,clerk\n\n50,?\n\n"),
    ],
)
def test_text_files_give_columns_of_text(tmp_path: Path, name: str, data: bytes) -> None:
    loaded = open_source([write(tmp_path / name, data)]).read()
    assert loaded.table.to_pydict() == ROWS
    assert set(loaded.table.schema.types) == {pa.string()}
    assert [loaded.location(row) for row in range(2)] == [(name, 0), (name, 1)]


def test_quoted_fields_may_hold_the_delimiter_quotes_and_newlines(tmp_path: Path) -> None:
    loaded = open_source([write(tmp_path / "a.csv", 'a,"b\nb"\n"1,5","say ""hi""\nthere"\n"2\n3",x\n')]).read()
    assert loaded.table.to_pydict() == {"a": ["1,5", "2\n3"], "b\nb": ['say "hi"\nthere', "x"]}


def test_a_newline_in_the_last_field_is_no_open_quote(tmp_path: Path) -> None:
    for name, end in [("a.csv", "\n"), ("b.csv", "\r\n\r\n"), ("c.csv", "")]:
        loaded = open_source([write(tmp_path / name, 'a,b\n1,"2\n3"' + end)]).read()
        assert loaded.table.to_pydict() == {"a": ["1"], "b": ["2\n3"]}


def test_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "39,clerk\n50,?\n")
    assert open_source([path], has_header=False).read().table.column_names == ["column_1", "column_2"]
    assert open_source([path], has_header=False, names=["age", "job"]).read().table.to_pydict() == ROWS


def test_names_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,x\n39,clerk\n50,?\n")
    assert open_source([path], names=["age", "job"]).read().table.to_pydict() == ROWS
    pq.write_table(pa.table({"x": ["39", "50"], "y": ["clerk", "?"]}), tmp_path / "a.parquet")
    assert open_source([tmp_path / "a.parquet"], names=["age", "job"]).read().table.to_pydict() == ROWS


def test_parquet_keeps_its_types_and_leaves_out_a_pandas_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None], "c": pd.Categorical(["a", "b"])}, index=["r", "s"])
    frame.to_parquet(tmp_path / "a.parquet")
    table = open_source([tmp_path / "a.parquet"]).read().table
    assert table.column_names == ["n", "x", "c"]
    assert table.schema.field("n").type == pa.int64()
    assert pa.types.is_dictionary(table.schema.field("c").type)


def test_files_are_joined_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "age,job\n39,clerk\n50,?\n")
    second = write(tmp_path / "b.csv", "job,age\nsmith,20\n")
    loaded = open_source([first, second]).read()
    assert loaded.table.to_pydict() == {"age": ["39", "50", "20"], "job": ["clerk", "?", "smith"]}
    assert [loaded.location(row) for row in range(3)] == [("a.csv", 0), ("a.csv", 1), ("b.csv", 0)]
    assert open_source([first, second]).files == "a.csv, b.csv"
    more = [write(tmp_path / f"{name}.csv", "age,job\n1,x\n") for name in "cde"]
    assert open_source([first, second, *more]).files == "a.csv, b.csv, c.csv and 2 more"


def test_parquet_files_may_differ_in_the_width_of_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [2.5]}), tmp_path / "b.parquet")
    loaded = open_source([tmp_path / "a.parquet", tmp_path / "b.parquet"]).read()
    assert loaded.table.to_pydict() == {"x": [1.0, 2.5]}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "a.csv" for folder in "xy"]
    for path in paths:
        path.parent.mkdir()
        write(path, "age\n1\n")
    assert [open_source(paths).read().location(row).file for row in range(2)] == list(map(str, paths))


def test_a_type_is_not_guessed_from_the_first_rows(tmp_path: Path) -> None:
    rows = "".join(f"{i}\n" for i in range(300_000))
    loaded = open_source([write(tmp_path / "a.csv", "x\n" + rows + "abc\n")]).read()
    assert loaded.table.num_rows == 300_001
    assert loaded.table["x"][-1].as_py() == "abc"
    assert as_numbers(loaded.table["x"]) is None
    assert first_not_number(loaded.table["x"]) == 300_000


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), st.integers()),
        min_size=1,
        max_size=20,
    )
)
def test_what_python_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "number"), *rows])
    assert open_source([path]).read().table.to_pylist() == [
        {"text": text, "number": str(number)} for text, number in rows
    ]


# Frames


def test_table_from_takes_what_has_named_columns() -> None:
    table = pa.table({"age": [39, 50], "job": ["clerk", None]})
    frame = pd.DataFrame({"age": [39, 50], "job": ["clerk", None]}, index=[7, 9])
    for given_ in (table, frame, table.to_batches()[0], table.to_reader(), table.to_pydict()):
        assert table_from(given_).to_pydict() == table.to_pydict()
    assert table_from(table) is table


def test_a_pandas_index_is_left_out_and_its_missing_values_are_null() -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "x": [1.0, np.nan]}).set_index("id")
    assert table_from(frame).column_names == ["x"]
    assert as_numbers(table_from(frame)["x"]).tolist()[0] == 1.0  # type: ignore[union-attr]


# Columns


def test_missing_tokens_are_missing_and_other_words_are_not() -> None:
    words = ["none", "NAN", "Null", "-", "unknown", "."]
    text = missing_as_null(column(*(f" {token}\t" for token in MISSING_TOKENS), *words))
    assert text.to_pylist() == [None] * len(MISSING_TOKENS) + words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("39", 39.0),
        (" 39 ", 39.0),
        ("1e5", 1e5),
        ("-.5", -0.5),
        ("+3", 3.0),
        ("5.", 5.0),
        ("1E-3", 1e-3),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
        ("007", 7.0),
        ("1e-400", 0.0),
        *((token, np.nan) for token in MISSING_TOKENS),
    ],
)
def test_text_that_is_a_number(text: str, number: float) -> None:
    np.testing.assert_array_equal(as_numbers(column("1", text)), [1.0, number])


NO_NUMBERS = ["abc", "1_000", "0x10", "NAN", "-nan", "1,5", "1 000", "1e", "++3", "1d5", "٣", "true"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_text_that_is_no_number(text: str) -> None:
    values = column("1", None, text)
    assert as_numbers(values) is None
    assert first_not_number(values) == 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int8(), -5),
        (pa.uint64(), 5),
        (pa.float16(), np.float16(0.5)),
        (pa.float32(), 0.5),
        (pa.float64(), 0.1),
        (pa.decimal128(5, 2), decimal.Decimal("1.50")),
        (pa.decimal256(50, 2), decimal.Decimal("1.50")),
        (pa.bool_(), True),
        (pa.string(), "7"),
        (pa.large_string(), "7"),
        (pa.string_view(), "7"),
        (pa.dictionary(pa.int8(), pa.string()), "7"),
        (pa.dictionary(pa.int32(), pa.int64()), 7),
    ],
)
def test_every_plain_type_reads_as_numbers_and_as_levels(kind: pa.DataType, value: object) -> None:
    values = column(value, None, value, kind=kind)
    np.testing.assert_array_equal(as_numbers(values), [float(value), np.nan, float(value)])  # type: ignore[arg-type]
    levels = as_levels(values)
    assert levels.codes.tolist() == [0, -1, 0]
    assert len(levels.texts) == 1


def test_large_integers_keep_what_float64_can_hold() -> None:
    assert as_numbers(column(2**63 - 1)).tolist() == [2.0**63]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3, 10], ["3", "10"]),
        ([3.0, 2.5, float("nan")], ["3", "2.5"]),
        ([True, False], ["true", "false"]),
        ([" a", "a ", "b"], ["a", "b"]),
        (["3.0", "3"], ["3.0", "3"]),
    ],
)
def test_levels_are_the_trimmed_texts(values: list[object], texts: list[str]) -> None:
    assert as_levels(column(*values)).texts.to_pylist() == texts


def test_levels_run_across_chunks_and_count_their_rows() -> None:
    levels = as_levels(pa.chunked_array([["b", "a"], [], ["c", "?", "a"]], pa.string()))
    assert levels.texts.to_pylist() == ["b", "a", "c"]
    assert levels.codes.tolist() == [0, 1, 2, -1, 1]
    assert levels.counts().tolist() == [1, 2, 1]


def test_columns_of_no_rows_and_of_nothing() -> None:
    for kind in (pa.string(), pa.int64(), pa.dictionary(pa.int32(), pa.string()), pa.null()):
        nothing = pa.chunked_array([], kind)
        assert as_levels(nothing).codes.tolist() == []
        assert as_numbers(nothing).tolist() == []  # type: ignore[union-attr]
    assert as_levels(column(None, None)).codes.tolist() == [-1, -1]


def test_levels_of_a_dictionary_leave_out_those_no_row_has() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["b", "b"], categories=["a", "b"])})
    assert as_levels(table_from(frame)["c"]).texts.to_pylist() == ["b"]


def test_errors_are_one_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        open_source([tmp_path / "a.csv"]).read()
    assert issubclass(DataError, ValueError)
