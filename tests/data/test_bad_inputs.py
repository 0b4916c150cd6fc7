"""Every input that is refused, with the one line that says why: file, row and column where there is one."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torchlogit import TableEncoder
from torchlogit.data.encoding import encoder as encoder_module
from torchlogit.data.reading.formats import KNOWN
from torchlogit.data.reading.source import open_source
from torchlogit.data.reading.tables import table_from
from torchlogit.errors import DataError

# Files


@dataclass(frozen=True)
class BadFile:
    """Files to write and read in this order, and the message; {folder} stands for where they are."""

    message: str
    files: Mapping[str, bytes]
    options: Mapping[str, Any] = field(default_factory=dict)


def parquet(columns: Mapping[str, object]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


WHOLE = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
NO_HEADER = "give each column a name of its own, or say that the file has no header (has_header=False or --no-header)"
AS_UTF8 = "save the file as UTF-8, for example with iconv -f latin1 -t utf-8"
NO_GZIP = "a.csv.gz is not a whole gzip file; compress it or fetch it again"
NO_PARQUET = "a.parquet is not a whole Parquet file; write it or fetch it again"
OPEN_QUOTE = "a quote is opened and never closed; close it, and double the quotes inside it"

FILES = {
    "no file": BadFile(f"no file was given; give at least one of {KNOWN}", {}),
    "unknown suffix": BadFile(
        f"{{folder}}/a.xlsx is of a kind that cannot be read; give one of {KNOWN}", {"a.xlsx": b"PK"}
    ),
    "empty": BadFile("a.csv is empty; give a file with rows", {"a.csv": b""}),
    "blank lines only": BadFile("a.csv is empty; give a file with rows", {"a.csv": b"\n\n"}),
    "empty gzip": BadFile("a.csv.gz is empty; give a file with rows", {"a.csv.gz": gzip.compress(b"")}),
    "empty parquet": BadFile("a.parquet is empty; give a file with rows", {"a.parquet": b""}),
    "header only": BadFile("a.csv has column names and no rows; give a file with rows", {"a.csv": b"a,b\n"}),
    "parquet without rows": BadFile(
        "a.parquet has column names and no rows; give a file with rows", {"a.parquet": parquet({"a": []})}
    ),
    "repeated name": BadFile(f"a.csv: more than one column is called 'a'; {NO_HEADER}", {"a.csv": b"a,b, a\n1,2,3\n"}),
    "repeated names": BadFile(
        f"a.csv: more than one column is called 'a', 'b'; {NO_HEADER}", {"a.csv": b"a,b,b,a\n1,2,3,4\n"}
    ),
    "repeated names given": BadFile(
        f"a.csv: more than one column is called 'x'; {NO_HEADER}", {"a.csv": b"a,b\n1,2\n"}, {"names": ["x"] * 2}
    ),
    "column without a name": BadFile(f"a.csv: column 2 has no name; {NO_HEADER}", {"a.csv": b"a, ,c\n1,2,3\n"}),
    "names of another number": BadFile(
        "a.csv has 2 columns and 3 names were given; give one name per column",
        {"a.csv": b"1,2\n"},
        {"names": ["x", "y", "z"], "has_header": False},
    ),
    "parquet, names of another number": BadFile(
        "a.parquet has 1 columns and 2 names were given; give one name per column",
        {"a.parquet": parquet({"a": [1]})},
        {"names": ["x", "y"]},
    ),
    "row too short": BadFile(
        "a.csv row 2: expected 2 fields and found 1 in '3'; complete the row, or quote the fields that hold ','",
        {"a.csv": b"a,b\n1,2\n\n3\n4,5,6\n"},
    ),
    "row too long": BadFile(
        "a.csv row 2: expected 2 fields and found 4 in 'a long field that no message wants to...'; "
        "complete the row, or quote the fields that hold ','",
        {"a.csv": b"\n1,2\na long field that no message wants to show in full,4,5,6\n"},
        {"has_header": False},
    ),
    "row too long in gzip": BadFile(
        r"a.tsv.gz row 1: expected 1 fields and found 2 in '1\t2'; "
        r"complete the row, or quote the fields that hold '\t'",
        {"a.tsv.gz": gzip.compress(b"a\n1\t2\n")},
    ),
    "row too long in the second file": BadFile(
        "b.csv row 1: expected 1 fields and found 2 in '1,2'; complete the row, or quote the fields that hold ','",
        {"a.csv": b"a\n1\n", "b.csv": b"a\n1,2\n"},
    ),
    "open quote at the end": BadFile(f"a.csv row 2: {OPEN_QUOTE}", {"a.csv": b'a,b\n1,2\n3,"4\n5,6\n'}),
    "open quote in gzip": BadFile(f"a.csv.gz row 1: {OPEN_QUOTE}", {"a.csv.gz": gzip.compress(b'a,b\n3,"4\n5,6\n')}),
    "open quote over a block": BadFile(
        f"a.csv row 2: {OPEN_QUOTE}", {"a.csv": b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 1_500_000}
    ),
    "open quote in the header": BadFile(
        "a.csv: the first line is not CSV (field larger than field limit (131072)); check its quotes",
        {"a.csv": b'a,"b\n' + b"5,6\n" * 50_000},
    ),
    "latin-1 value": BadFile(
        f"a.csv row 2: column 'name' is not UTF-8 text; {AS_UTF8}",
        {"a.csv": "age,name\n1,Ann\n2,René\n".encode("latin-1")},
    ),
    "latin-1 header": BadFile(
        f"a.csv: the first line is not UTF-8 text; {AS_UTF8}", {"a.csv": "âge,name\n1,Ann\n".encode("latin-1")}
    ),
    "utf-16": BadFile(f"a.csv: the first line is not UTF-8 text; {AS_UTF8}", {"a.csv": "a,b\n1,2\n".encode("utf-16")}),
    "semicolons": BadFile(
        "a.csv has one column, 'age;name', which holds ';' where ',' was expected between fields; "
        "write it with ',' between the fields",
        {"a.csv": b"age;name\n1;Ann\n"},
    ),
    "tabs in .csv": BadFile(
        r"a.csv has one column, 'age\tname', which holds '\t' where ',' was expected between fields; call it .tsv",
        {"a.csv": b"age\tname\n1\tAnn\n"},
    ),
    "commas in .tsv": BadFile(
        r"a.tsv has one column, 'age,name', which holds ',' where '\t' was expected between fields; call it .csv",
        {"a.tsv": b"age,name\n1,Ann\n"},
    ),
    "no gzip": BadFile(NO_GZIP, {"a.csv.gz": b"a,b\n1,2\n"}),
    "cut gzip": BadFile(NO_GZIP, {"a.csv.gz": WHOLE[:-4]}),
    "gzip cut in its header": BadFile(NO_GZIP, {"a.csv.gz": WHOLE[:5]}),
    "gzip with a wrong checksum": BadFile(NO_GZIP, {"a.csv.gz": WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:]}),
    "gzip with damaged data": BadFile(NO_GZIP, {"a.csv.gz": WHOLE[:12] + b"\xff" * 6 + WHOLE[18:]}),
    "no parquet": BadFile(NO_PARQUET, {"a.parquet": b"a,b\n1,2\n"}),
    "cut parquet": BadFile(NO_PARQUET, {"a.parquet": parquet({"a": list(range(1000))})[:-100]}),
    "other columns": BadFile(
        "b.csv has other columns than a.csv: it lacks 'b' and adds 'c', 'd'; give files with the same columns",
        {"a.csv": b"a,b\n1,2\n", "b.csv": b"c,d,a\n1,2,3\n"},
    ),
    "a column too few": BadFile(
        "b.csv has other columns than a.csv: it lacks 'b'; give files with the same columns",
        {"a.csv": b"a,b\n1,2\n", "b.csv": b"a\n1\n"},
    ),
    "other types": BadFile(
        "column 'b' is int64 in a.parquet and string in b.csv; write it as one type",
        {"a.parquet": parquet({"a": ["x"], "b": [1]}), "b.csv": b"a,b\n1,2\n"},
    ),
}


@pytest.mark.parametrize("case", FILES.values(), ids=FILES.keys())
def test_bad_file(tmp_path: Path, case: BadFile) -> None:
    for name, data in case.files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        open_source([tmp_path / name for name in case.files], **case.options).read()
    assert str(error.value) == case.message.replace("{folder}", str(tmp_path))
    assert error.value.row is None  # the message names file and row already


def test_paths_to_nothing_and_to_folders(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "a.csv", f"{tmp_path}/a.csv does not exist; check the path"),
        (tmp_path, f"{tmp_path} is a folder without a file of a known kind; expected {KNOWN}"),
    ]:
        with pytest.raises(DataError) as error:
            open_source([path]).read()
        assert str(error.value) == message


def test_a_parquet_file_with_repeated_names(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError) as error:
        open_source([tmp_path / "a.parquet"]).read()
    assert str(error.value) == f"a.parquet: more than one column is called 'a'; {NO_HEADER}"


# Tables that are none

NAMED = "expected a table with named columns (a pandas, polars or Arrow table, or a dict of columns) and got"
NAME_THEM = "name the columns, for example pandas.DataFrame(X, columns=[...])"
FRAMES = {
    "array": (np.ones((2, 2)), f"{NAMED} numpy.ndarray; {NAME_THEM}"),
    "list": ([[1]], f"{NAMED} builtins.list; {NAME_THEM}"),
    "nothing": (None, f"{NAMED} builtins.NoneType; {NAME_THEM}"),
    "unequal columns": (
        {"a": [1, 2], "b": [1]},
        "the table cannot be read: Column 1 named b expected length 2 but got length 1; give columns of one type each",
    ),
    "mixed values": (
        pd.DataFrame({"a": [1, "x"]}, dtype=object),
        "the table cannot be read: Could not convert 'x' with type str: tried to convert to int64 "
        "Conversion failed for column a with type object; give columns of one type each",
    ),
    "repeated names, pandas": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "the table: more than one column is called 'a'; give each column a name of its own",
    ),
    "repeated names, Arrow": (
        pa.table([[1], [2]], names=["a", "a"]),
        "the table: more than one column is called 'a'; give each column a name of its own",
    ),
}


@pytest.mark.parametrize(("frame", "message"), FRAMES.values(), ids=FRAMES.keys())
def test_bad_frame(frame: object, message: str) -> None:
    with pytest.raises(DataError) as error:
        table_from(frame)
    assert str(error.value) == message


# Tables that cannot be learned from


@dataclass(frozen=True)
class BadTable:
    """A table that `fit` refuses, with the message and, where one is to blame, the column and the row."""

    message: str
    table: object
    column: str | None = None
    row: int | None = None
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)


def settled(name: str) -> str:
    return (
        f"leave the column out (drop=['{name}'] or --drop {name}) "
        f"or keep its texts as categories (categorical=['{name}'] or --categorical {name})"
    )


RANGE = "where numbers between -1e38 and 1e38 were expected; correct the value, or leave the column out"
SENTENCES = [f"the case of patient {i} is still open" for i in range(30)]
DATES = ["2020-01-31", "2020-01-31 10:30", "2020-01-31T10:30:05.25Z", "2020-2-1 10:30:00+02:00", "2020/01/31"]
OTHER_DATES = ["31/01/2020", "1/31/20", "31.1.2020", "31-01-2020", "12/31/2020 5:30 PM"]
TABLES = {
    "no rows": BadTable("the table has no rows; give at least one", {"x": pa.array([], pa.string())}),
    "no columns": BadTable("the table has no rows; give at least one", {}),
    "infinity": BadTable(f"column 'x' holds inf, {RANGE} (drop=['x'] or --drop x)", {"x": [1, 2, np.inf]}, "x", 2),
    "infinity as text": BadTable(
        f"column 'x' holds '-Infinity', {RANGE} (drop=['x'] or --drop x)", {"x": ["1", "?", " -Infinity"]}, "x", 2
    ),
    "beyond float32": BadTable(
        f"column 'my x' holds 1e+300, {RANGE} (drop=['my x'] or --drop 'my x')", {"my x": [1, 1e300]}, "my x", 1
    ),
    "beyond float64": BadTable(
        f"column 'x' holds '1e400', {RANGE} (drop=['x'] or --drop x)", {"x": ["1e400", "1"]}, "x", 0
    ),
    "forced, no number": BadTable(
        "column 'x' holds 'abc', which is not a number; correct the value, or take 'x' out of numeric",
        {"x": ["1", "?", "abc", "d"]},
        "x",
        2,
        {"numeric": ["x"]},
    ),
    "ids": BadTable(
        f"column 'x' holds 21 different texts in 21 rows, which look like an id; {settled('x')}",
        {"x": [f"id{i}" for i in range(21)]},
        "x",
    ),
    "ids among missing values": BadTable(
        f"column 'x' holds 21 different texts in 21 rows, which look like an id; {settled('x')}",
        {"x": ["?", *(f"id{i}" for i in range(21)), None]},
        "x",
    ),
    "many levels": BadTable(
        f"column 'x' holds 1001 different texts in 2001 rows, which look like an id; {settled('x')}",
        {"x": [f"id{i % 1001}" for i in range(2001)]},
        "x",
    ),
    "free text": BadTable(
        f"column 'x' holds 30 different texts in 30 rows, which are free text; "
        f"read its words (text=['x'] or --text x), {settled('x')}",
        {"x": SENTENCES},
        "x",
    ),
    "numbers and a word": BadTable(
        "column 'x' holds numbers and also 'abc', '1_000'; correct these values, "
        "or leave the column out (drop=['x'] or --drop x)",
        {"x": [*map(str, range(30)), "abc", "1_000"]},
        "x",
        30,
    ),
    **{
        f"date {date}": BadTable(
            f"column 'x' holds dates, such as '{date}'; turn them into numbers, {settled('x')}",
            {"x": [date, date.replace("20", "19"), "?", date]},
            "x",
        )
        for date in DATES + OTHER_DATES
    },
    "dates and a few words": BadTable(
        f"column 'x' holds dates, such as '2020-01-11'; turn them into numbers, {settled('x')}",
        {"x": ["soon", *(f"2020-01-{i}" for i in range(11, 30))]},
        "x",
    ),
    "date type": BadTable(
        f"column 'x' holds dates, of type date32[day]; turn them into numbers, {settled('x')}",
        {"x": pa.array([1, 2], pa.date32())},
        "x",
    ),
    "time type": BadTable(
        f"column 'x' holds dates, of type timestamp[us]; turn them into numbers, {settled('x')}",
        {"x": pa.array([1, 2], pa.timestamp("us"))},
        "x",
        options={"numeric": ["x"]},
    ),
    "list type": BadTable(
        "column 'x' holds values of type list<item: int64>, where numbers, booleans or text were expected; "
        "take it apart, or leave it out (drop=['x'] or --drop x)",
        {"x": pa.array([[1], [2]], pa.list_(pa.field("item", pa.int64())))},
        "x",
    ),
    "binary type": BadTable(
        "column 'x' holds values of type binary, where numbers, booleans or text were expected; "
        "take it apart, or leave it out (drop=['x'] or --drop x)",
        {"x": [b"a", b"b"]},
        "x",
        options={"categorical": ["x"]},
    ),
    "unknown name": BadTable(
        "drop names 'agee', and there is no such column; did you mean 'age'?",
        {"age": [1, 2], "job": [1, 2]},
        options={"drop": ["agee"]},
    ),
    "unknown name, unlike any": BadTable(
        "numeric names 'zzz', and there is no such column; the columns are 'age', 'job'",
        {"age": [1, 2], "job": [1, 2]},
        options={"numeric": ["zzz"]},
    ),
    "two roles": BadTable(
        "column 'age' is named in numeric and in drop; keep one",
        {"age": [1, 2]},
        "age",
        options={"numeric": ["age"], "drop": ["age"]},
    ),
    "nothing left": BadTable(
        "no column is left to learn from ('a': one value only; 'b': no values; 'c': left out on request); "
        "keep one that varies",
        {"a": [1, 1], "b": [None, None], "c": [1, 2]},
        options={"drop": ["c"]},
    ),
    "features of one name": BadTable(
        "two features would be called 'a=b'; rename the columns they come from", {"a": ["b", "c"], "a=b": [1, 2]}
    ),
}


@pytest.mark.parametrize("case", TABLES.values(), ids=TABLES.keys())
def test_table_that_cannot_be_learned_from(case: BadTable) -> None:
    with pytest.raises(DataError) as error:
        TableEncoder(**case.options).fit(case.table)
    assert error.value.message == case.message
    assert (error.value.column, error.value.row) == (case.column, case.row)


def test_what_only_looks_like_a_date_is_a_category() -> None:
    for values in (["1.2.3", "1.2.4"], ["20-30-40", "50-60-70"], ["2020", "10-19"], ["2020-01-01", *["later"] * 19]):
        TableEncoder().fit({"x": values})


# Tables that do not fit what was learned

TRAINING = {
    "age": [1.0, 2.0, 4.0],
    "job": ["a", "b", "a"],
    "own": [True, False, True],
}
FITTING = {"age": ["1", "2"], "job": ["b", "a"], "own": [False, True]}
DRIFT = {
    "a column less": BadTable("column 'job' is missing; the model was trained on it", {"job": None}, "job"),
    "columns less": BadTable(
        "columns 'age', 'job' are missing; the model was trained on them", {"age": None, "job": None}, "age"
    ),
    "a word among numbers": BadTable(
        "column 'age' holds 'abc', which is not a number, but training had numbers there; correct it",
        {"age": ["1", " abc "]},
        "age",
        1,
    ),
    "dates for numbers": BadTable(
        "column 'age' holds 1970-01-02, which is not a number, but training had numbers there; correct it",
        {"age": pa.array([None, 1], pa.date32())},
        "age",
        1,
    ),
    "infinity": BadTable(
        f"column 'age' holds inf, {RANGE} (drop=['age'] or --drop age)", {"age": [1, float("inf")]}, "age", 1
    ),
    "beyond float32": BadTable(
        f"column 'age' holds '1e300', {RANGE} (drop=['age'] or --drop age)", {"age": ["1e300", "1"]}, "age", 0
    ),
    "a word among truths": BadTable(
        "column 'own' holds 'maybe', but held only true and false in training; correct the value",
        {"own": ["true", "maybe"]},
        "own",
        1,
    ),
    "numbers for truths": BadTable(
        "column 'own' holds 2, but held only true and false in training; correct the value", {"own": [1, 2]}, "own", 1
    ),
    "lists for categories": BadTable(
        "column 'job' holds values of type list<item: string>, where numbers, booleans or text were expected; "
        "take it apart, or leave it out (drop=['job'] or --drop job)",
        {"job": pa.array([["a"], ["b"]], pa.list_(pa.field("item", pa.string())))},
        "job",
    ),
}


@pytest.mark.parametrize("case", DRIFT.values(), ids=DRIFT.keys())
def test_table_that_does_not_fit(case: BadTable) -> None:
    assert isinstance(case.table, dict)
    table = {name: values for name, values in (FITTING | case.table).items() if values is not None}
    encoder = TableEncoder().fit(TRAINING)
    with pytest.raises(DataError) as error:
        encoder.transform(table)
    assert error.value.message == case.message
    assert (error.value.column, error.value.row) == (case.column, case.row)


def test_a_value_too_far_from_training_for_float32() -> None:
    encoder = TableEncoder().fit({"x": [0.0, 2e-30]})
    with pytest.raises(DataError) as error:
        encoder.transform({"x": [0.0, 1e30]})
    assert error.value.message == (
        "column 'x' holds 1e+30, too far from the training values, which spread 1e-30 around 1e-30; correct the value"
    )
    assert (error.value.column, error.value.row) == ("x", 1)


def test_input_features_of_another_table() -> None:
    with pytest.raises(DataError) as error:
        TableEncoder().fit(TRAINING).get_feature_names_out(["x"])
    assert str(error.value) == "input_features differ from the columns of the training table; leave them out"


def test_more_features_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(shape: tuple[int, int], dtype: type) -> None:
        raise MemoryError

    monkeypatch.setattr(encoder_module.np, "zeros", no_memory)
    with pytest.raises(DataError) as error:
        TableEncoder().fit_transform({"x": ["a", "b"] * 2**20})
    assert str(error.value) == (
        "2097152 rows of 2 features take 0 GiB, more memory than there is; "
        "leave out the columns with the most levels (drop or --drop)"
    )


def test_every_message_is_one_line() -> None:
    for case in (*FILES.values(), *TABLES.values(), *DRIFT.values()):
        assert "\n" not in case.message
