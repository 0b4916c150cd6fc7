"""Bad input on the command line: one line on standard error, the exit code, nothing lost, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shlex
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands import torchlogit
from torchlogit.data.reading.formats import KNOWN

Files = Mapping[str, bytes | str]

JOBS = ("clerk", "cook", "smith")
DATA = "x,job,y\n" + "".join(f"{i * i % 7},{JOBS[i % 3]},{'ab'[i % 2]}\n" for i in range(24))
TRAIN = "train data.csv --target y -o new.safetensors"
PREDICT = "predict model.safetensors"
NUMBERS = "where numbers between -1e38 and 1e38 were expected"


@dataclass(frozen=True)
class Bad:
    """Files beside data.csv and model.safetensors, the command that meets them, and all that it may print."""

    command: str
    message: str
    files: Files = field(default_factory=dict)


def rows(header: str, *lines: str) -> str:
    return "\n".join([header, *lines, ""])


def varied(name: str, pattern: str, n: int = 40) -> str:
    """A table of rows (NAME, x, y), the first column by a pattern of the row's number."""
    return rows(f"{name},x,y", *(f"{pattern.format(i)},{i * i % 7},{'ab'[i % 2]}" for i in range(n)))


def settled(name: str) -> str:
    return (
        f"leave the column out (drop=['{name}'] or --drop {name}) "
        f"or keep its texts as categories (categorical=['{name}'] or --categorical {name})"
    )


def safetensors(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


NOT_A_MODEL = "not a torchlogit model, or a damaged one; expected a file written by `torchlogit train`"
NAME_THEM = "give each column a name of its own, or say that the file has no header (has_header=False or --no-header)"
BAD = {
    # tables
    "no such file": Bad("train nowhere.csv --target y", "nowhere.csv does not exist; check the path"),
    "a folder": Bad(
        "train papers --target y",
        f"papers is a folder without a file of a known kind; expected {KNOWN}",
        {"papers/a.txt": "x", "papers/.b.csv": "x"},
    ),
    "a glob of nothing": Bad(
        "train 'papers/*.csv' --target y",
        "no file matches papers/*.csv; check the path, and quote it so that the shell leaves it alone",
    ),
    "unknown suffix": Bad(
        "train t.xlsx --target y",
        f"t.xlsx is of a kind that cannot be read; give one of {KNOWN}",
        {"t.xlsx": "PK"},
    ),
    "empty file": Bad("train t.csv --target y", "t.csv is empty; give a file with rows", {"t.csv": ""}),
    "header only": Bad(
        "train t.csv --target y", "t.csv has column names and no rows; give a file with rows", {"t.csv": "x,y\n"}
    ),
    "repeated column": Bad(
        "train t.csv --target y",
        f"t.csv: more than one column is called 'x'; {NAME_THEM}",
        {"t.csv": rows("x,x,y", "1,2,a", "2,3,b")},
    ),
    "row too long": Bad(
        "train t.csv --target y",
        "t.csv row 2: expected 2 fields and found 3 in '2,b,c'; complete the row, or quote the fields that hold ','",
        {"t.csv": rows("x,y", "1,a", "2,b,c")},
    ),
    "row too short, second file": Bad(
        "train data.csv t.csv --target y",
        "t.csv row 3: expected 3 fields and found 1 in '3'; complete the row, or quote the fields that hold ','",
        {"t.csv": rows("x,job,y", "1,cook,a", "2,cook,b", "3")},
    ),
    "not UTF-8": Bad(
        "train t.csv --target y",
        "t.csv row 2: column 'job' is not UTF-8 text; "
        "save the file as UTF-8, for example with iconv -f latin1 -t utf-8",
        {"t.csv": b"job,y\ncook,a\ncaf\xe9,b\n"},
    ),
    "other columns": Bad(
        "train data.csv t.csv --target y",
        "t.csv has other columns than data.csv: it lacks 'job'; give files with the same columns",
        {"t.csv": rows("x,y", "1,a")},
    ),
    "too few names": Bad(
        "train data.csv --target y --names x,y",
        "data.csv has 3 columns and 2 names were given; give one name per column",
    ),
    # the target
    "no target": Bad(
        "train t.csv --target incme",
        "t.csv: there is no target column 'incme'; did you mean 'income'?",
        {"t.csv": rows("x,income", "1,a", "2,b")},
    ),
    "no target, no idea": Bad(
        "train data.csv --target price",
        "data.csv: there is no target column 'price'; the columns are 'x', 'job', 'y'",
    ),
    "one class": Bad(
        "train t.csv --target y",
        "t.csv: target 'y' has one class only, 'a'; expected at least two",
        {"t.csv": rows("x,y", "1,a", "2,a")},
    ),
    "target missing": Bad(
        "train t.csv u.csv --target y",
        "u.csv row 2: target 'y' is missing in 2 of 5 rows; fill it or remove these rows",
        {"t.csv": rows("x,y", "1,a", "2,b"), "u.csv": rows("x,y", "1,a", "2,?", "3,")},
    ),
    "a quantity": Bad(
        "train t.csv --target y",
        "t.csv: target 'y' has 300 distinct values ('0.5', '1.5', '2.5', ...); expected at most 200 classes: "
        "name a column of classes, or put the values into a few groups first",
        {"t.csv": rows("x,y", *(f"{i % 7},{i // 2}.5" for i in range(600)))},
    ),
    "probabilities": Bad(
        "train t.csv --target y",
        "t.csv: target 'y' has 99 distinct values ('0.01', '0.02', '0.03', ...); expected at most 49 classes: "
        "name a column of classes, or put the values into a few groups first",
        {"t.csv": rows("x,y", *(f"{i % 7},{i / 100}" for i in range(1, 100)))},
    ),
    "no such positive class": Bad(
        "train data.csv --target y --positive c", "data.csv: the positive class 'c' is not in target 'y': 'a', 'b'"
    ),
    "positive of three": Bad(
        "train data.csv --target job --positive cook",
        "data.csv: a positive class needs two classes, and target 'job' has 3; leave it out",
    ),
    # columns
    "infinity": Bad(
        "train t.csv --target y",
        f"t.csv row 3: column 'x' holds '-inf', {NUMBERS}; "
        "correct the value, or leave the column out (drop=['x'] or --drop x)",
        {"t.csv": rows("x,y", "1,a", "2,b", "-inf,a")},
    ),
    "1e300": Bad(
        "train t.csv --target y",
        f"t.csv row 2: column 'x' holds '1e300', {NUMBERS}; "
        "correct the value, or leave the column out (drop=['x'] or --drop x)",
        {"t.csv": rows("x,y", "1,a", "1e300,b", "2,a")},
    ),
    "an id": Bad(
        "train t.csv --target y",
        f"t.csv: column 'key' holds 40 different texts in 40 rows, which look like an id; {settled('key')}",
        {"t.csv": varied("key", "u{}")},
    ),
    "free text": Bad(
        "train t.csv --target y",
        f"t.csv: column 'note' holds 40 different texts in 40 rows, which are free text; "
        f"read its words (text=['note'] or --text note), {settled('note')}",
        {"t.csv": varied("note", "called us {} times this year")},
    ),
    "text of words that are none": Bad(
        "train t.csv --target y --text note",
        "t.csv: column 'note' holds no words to learn from; leave it out of text",
        {"t.csv": varied("note", "?")},
    ),
    "cross of an unknown column": Bad(
        "train data.csv --target y --cross x:z",
        "data.csv: crosses names 'x:z', where two columns A:B were expected; the columns are 'x', 'job'",
    ),
    "svmlight, a value": Bad(
        "train t.svm",
        "t.svm line 2 place 6 holds 'x': expected a finite number as the value",
        {"t.svm": "1 1:1\n-1 1:x\n"},
    ),
    "svmlight, one class": Bad(
        "train t.svm", "t.svm: target 'label' has one class only, 1; expected at least two", {"t.svm": "1 1:1\n1 2:1\n"}
    ),
    "JSON lines, a line": Bad(
        "train t.jsonl --target y",
        "t.jsonl line 2 is not JSON (Expecting value: line 1 column 7 (char 6)): '{\"y\": oops}'",
        {"t.jsonl": '{"y": 1}\n{"y": oops}\n'},
    ),
    "dates": Bad(
        "train t.csv --target y",
        f"t.csv: column 'day' holds dates, such as '2024-01-10'; turn them into numbers, {settled('day')}",
        {"t.csv": varied("day", "2024-01-1{}", n=9)},
    ),
    "no column left": Bad(
        "train t.csv --target y",
        "t.csv: no column is left to learn from ('x': one value only); keep one that varies",
        {"t.csv": rows("x,y", "1,a", "1,b")},
    ),
    "unknown column in drop": Bad(
        f"{TRAIN} --drop jobs", "data.csv: drop names 'jobs', and there is no such column; did you mean 'job'?"
    ),
    "unknown column in numeric": Bad(
        f"{TRAIN} --numeric z", "data.csv: numeric names 'z', and there is no such column; the columns are 'x', 'job'"
    ),
    "text named numeric": Bad(
        f"{TRAIN} --numeric job",
        "data.csv row 1: column 'job' holds 'clerk', which is not a number; "
        "correct the value, or take 'job' out of numeric",
    ),
    "numeric and categorical": Bad(
        f"{TRAIN} --numeric x --categorical x", "data.csv: column 'x' is named in numeric and in categorical; keep one"
    ),
    # weights
    "no weight column": Bad(
        f"{TRAIN} --weight w", "data.csv: there is no weight column 'w'; the columns are 'x', 'job', 'y'"
    ),
    "negative weight": Bad(
        "train t.csv --target y --weight w",
        "t.csv row 2: weight 'w' is -1; expected a finite number, not negative: correct it",
        {"t.csv": rows("x,w,y", "1,1,a", "2,-1,b", "3,1,a")},
    ),
    "missing weight": Bad(
        "train t.csv --target y --weight w",
        "t.csv row 3: weight 'w' is missing; expected a finite number, not negative: correct it",
        {"t.csv": rows("x,w,y", "1,1,a", "2,1,b", "3,,a")},
    ),
    "weight in words": Bad(
        f"{TRAIN} --weight job", "data.csv: weight 'job' holds text; expected numbers, none negative: correct them"
    ),
    "negative weight in the validation table": Bad(
        "train t.csv --target y --weight w --valid u.csv",
        "u.csv row 1: weight 'w' is -3; expected a finite number, not negative: correct it",
        {"t.csv": rows("x,w,y", "1,1,a", "2,1,b"), "u.csv": rows("x,w,y", "1,-3,a")},
    ),
    # settings
    "l2 is no number": Bad(f"{TRAIN} --l2 nan", "l2=nan: expected a positive finite number (use l2=0 for no penalty)"),
    "l2 is infinite": Bad(f"{TRAIN} --l2 inf", "l2=inf: expected a positive finite number (use l2=0 for no penalty)"),
    # places to write to
    "no such folder": Bad(
        "train data.csv --target y -o models/a.safetensors",
        "models/a.safetensors: there is no folder models; make it, or write elsewhere with -o",
    ),
    "a file as folder": Bad(
        "train data.csv --target y -o data.csv/a.safetensors",
        "data.csv/a.safetensors: there is no folder data.csv; make it, or write elsewhere with -o",
    ),
    "a folder as file": Bad(
        "train data.csv --target y -o .", ". is a folder; give the name of the model file to write"
    ),
    "predictions, unknown suffix": Bad(
        f"{PREDICT} data.csv -o p.txt",
        "p.txt: predictions are written as .csv, .csv.gz, .csv.zst, .parquet; give such a name, or -",
    ),
    "predictions, no such folder": Bad(
        f"{PREDICT} data.csv -o out/p.csv",
        "out/p.csv: cannot write there (No such file or directory); choose another folder",
    ),
    "predictions, a file as folder": Bad(
        f"{PREDICT} data.csv -o data.csv/p.csv",
        "data.csv/p.csv: cannot write there (Not a directory); choose another folder",
    ),
    "picture, unknown suffix": Bad(
        "demo --picture a.png", "a.png: the picture is an SVG file; give a name that ends in .svg"
    ),
    # models
    "no such model": Bad(
        "inspect nowhere.safetensors",
        "nowhere.safetensors: no such file; expected a model written by `torchlogit train`",
    ),
    "a folder as model": Bad("evaluate . data.csv", ".: a folder; expected a model file written by `torchlogit train`"),
    "a picture as model": Bad(
        "predict m.safetensors data.csv",
        f"m.safetensors: {NOT_A_MODEL}",
        {"m.safetensors": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200)},
    ),
    "an empty model": Bad("inspect m.safetensors", f"m.safetensors: {NOT_A_MODEL}", {"m.safetensors": b""}),
    "a table as model": Bad("predict data.csv model.safetensors", f"data.csv: {NOT_A_MODEL}"),
    "a safetensors file of others": Bad(
        "predict m.safetensors data.csv",
        "m.safetensors: a safetensors file, but not a torchlogit model; give one that is",
        {"m.safetensors": safetensors({"coef": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8))},
    ),
    "a model of a later version": Bad(
        "inspect m.safetensors",
        "m.safetensors: model format 5, and this torchlogit reads up to 4; upgrade torchlogit",
        {"m.safetensors": safetensors({"__metadata__": {"torchlogit": '{"format_version": 5}'}}, b"")},
    ),
    "a model without a version": Bad(
        "inspect m.safetensors",
        "m.safetensors: the file has no format version; it is damaged",
        {"m.safetensors": safetensors({"__metadata__": {"torchlogit": "[]"}}, b"")},
    ),
    # tables for a model
    "needed column missing": Bad(
        f"{PREDICT} t.csv",
        "t.csv: column 'x' is missing; the model was trained on it",
        {"t.csv": rows("job,z", "cook,1")},
    ),
    "needed columns missing": Bad(
        f"{PREDICT} t.csv",
        "t.csv: columns 'x', 'job' are missing; the model was trained on them",
        {"t.csv": rows("z", "1")},
    ),
    "text among numbers": Bad(
        f"{PREDICT} t.csv",
        "t.csv row 2: column 'x' holds 'many', which is not a number, but training had numbers there; correct it",
        {"t.csv": rows("x,job", "1,cook", "many,cook")},
    ),
    "infinity to predict": Bad(
        f"{PREDICT} t.csv",
        f"t.csv row 1: column 'x' holds 'inf', {NUMBERS}; "
        "correct the value, or leave the column out (drop=['x'] or --drop x)",
        {"t.csv": rows("x,job", "inf,cook")},
    ),
    "labels with full stops": Bad(
        "evaluate model.safetensors t.csv",
        "t.csv row 1: target 'y' holds 'a.', 'b.' in 3 of 3 rows; the model's classes are 'a', 'b': correct the labels",
        {"t.csv": rows("x,job,y", "1,cook,a.", "2,cook,b.", "3,cook,a.")},
    ),
    "labels with full stops in the validation table": Bad(
        f"{TRAIN} --valid t.csv",
        "t.csv row 2: target 'y' holds 'b.' in 1 of 2 rows; the model's classes are 'a', 'b': correct the labels",
        {"t.csv": rows("x,job,y", "1,cook,a", "2,cook,b.")},
    ),
    "no target to evaluate": Bad(
        "evaluate model.safetensors t.csv",
        "t.csv: there is no target column 'y'; the columns are 'x', 'job'",
        {"t.csv": rows("x,job", "1,cook")},
    ),
    "no such target to evaluate": Bad(
        "evaluate model.safetensors data.csv --target z",
        "data.csv: there is no target column 'z'; the columns are 'x', 'job', 'y'",
    ),
    "no weight to evaluate": Bad(
        "evaluate model.safetensors data.csv --weight w",
        "data.csv: there is no weight column 'w'; the columns are 'x', 'job', 'y'",
    ),
}

TIME = "expected a time such as 60, 60s, 5m or 1h."
USAGE = {
    "train": "Missing argument 'DATA...'.",
    "train data.csv": "Missing option '--target': the column to predict.",
    f"{TRAIN} --valid data.csv --holdout 0.2": "--valid and --holdout both say what to measure on; give one of them.",
    **{f"{TRAIN} --time-budget={given}": f"Invalid value for --time-budget: '{given}': {TIME}"
       for given in ("soon", "0", "-5s", "5d", "nan", "inf", "s", "")},
    "train data.csv --target y -o data.csv": "data.csv is among the files to read; write elsewhere with -o.",
    "train 'd*.csv' --target y -o data.csv": "data.csv is among the files to read; write elsewhere with -o.",
    "train . --target y -o data.csv": "data.csv is among the files to read; write elsewhere with -o.",
    "train data.csv --target y -o ./data.csv": "data.csv is among the files to read; write elsewhere with -o.",
    "train data.csv --target y --valid ./model.safetensors -o model.safetensors":
        "model.safetensors is among the files to read; write elsewhere with -o.",
    "predict model.safetensors data.csv -o ../{folder}/data.csv":
        "../{folder}/data.csv is among the files to read; write elsewhere with -o.",
    **{f"{TRAIN} --{option} x,y": f"'y' is the target, and --{option} is about features; take it out of --{option}."
       for option in ("drop", "numeric", "categorical")},
    f"{TRAIN} --seed -1": "Invalid value for '--seed': -1 is not in the range 0<=x<=4294967295.",
    f"{TRAIN} --threads 100000": "Invalid value for '--threads': 100000 is not in the range 1<=x<=1024.",
    f"{TRAIN} --holdout 1": "Invalid value for '--holdout': 1.0 is not in the range 0<x<1.",
    f"{TRAIN} --l2 -1": "Invalid value for '--l2': -1.0 is not in the range x>=0.",
    f"{TRAIN} --l2 much": "Invalid value for '--l2': 'much': expected a number that is not negative, or auto.",
    f"{TRAIN} --tol 0": "Invalid value for '--tol': 0.0 is not in the range x>0.",
    f"{TRAIN} --threads 0": "Invalid value for '--threads': 0 is not in the range 1<=x<=1024.",
    f"{TRAIN} --solver lbfgs": "Invalid value for '--solver': 'lbfgs' is not one of 'auto', 'newton', 'dual', "
    "'streaming', 'sgd'.",
    f"{TRAIN} --class-weight even": "Invalid value for '--class-weight': 'even' is not 'balanced'.",
    f"{TRAIN} --penalty 1": "No such option '--penalty'.",
    "predict model.safetensors": "Missing argument 'DATA...'.",
    "inspect": "Missing argument 'MODEL'.",
    "inspect a b": "Got unexpected extra argument (b)",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the model that TRAIN writes."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "data.csv").write_text(DATA, encoding="utf-8")
    assert torchlogit(folder, *TRAIN.split()).code == 0
    return (folder / "new.safetensors").read_bytes()


@pytest.fixture
def folder(tmp_path: Path, model: bytes) -> Path:
    """A folder with data.csv and model.safetensors, trained on it."""
    (tmp_path / "data.csv").write_text(DATA, encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(model)
    return tmp_path


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(folder: Path, command: str) -> str:
    """The one line with which a command ends that fails, and that leaves the folder as it was."""
    before = contents(folder)
    ended = torchlogit(folder, *shlex.split(command))
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert ended.code == 1
    assert contents(folder) == before
    line = ended.stderr.removesuffix("\n")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line(name: str, folder: Path) -> None:
    bad = BAD[name]
    write(folder, bad.files)
    assert refusal(folder, bad.command) == f"torchlogit: {bad.message}"


@pytest.mark.parametrize("command", USAGE)
def test_wrong_usage_ends_in_one_line_after_the_usage(command: str, folder: Path) -> None:
    before = contents(folder)
    ended = torchlogit(folder, *shlex.split(command.format(folder=folder.name)))
    assert ended.code == 2
    assert ended.stdout == ""
    usage, hint, empty, error = ended.stderr.removesuffix("\n").split("\n")
    name = command.split()[0]
    assert usage.startswith(f"Usage: torchlogit {name} [OPTIONS] ")
    assert (hint, empty) == (f"Try 'torchlogit {name} --help' for help.", "")
    assert error == f"Error: {USAGE[command].format(folder=folder.name)}"
    assert contents(folder) == before


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -200, -1])
def test_a_truncated_model_is_refused(kept: int, folder: Path, model: bytes) -> None:
    write(folder, {"cut.safetensors": model[:kept]})
    assert refusal(folder, "predict cut.safetensors data.csv") == f"torchlogit: cut.safetensors: {NOT_A_MODEL}"


def test_a_model_with_another_number_in_it_is_refused(folder: Path, model: bytes) -> None:
    write(folder, {"m.safetensors": model[:-1] + bytes([model[-1] ^ 1])})
    message = "torchlogit: m.safetensors: the checksum does not fit the contents; the file is damaged"
    assert refusal(folder, "inspect m.safetensors") == message


def test_a_model_of_an_array_needs_python(folder: Path) -> None:
    from torchlogit import LogisticRegression, save

    save(LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "a"]), folder / "array.safetensors", target="y")
    message = "torchlogit: the model was trained on an array, not on a table; use it from Python"
    assert refusal(folder, "predict array.safetensors data.csv") == message


def test_a_model_without_a_target_asks_for_one(folder: Path) -> None:
    from torchlogit import LogisticRegression, save

    save(LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "a"]), folder / "array.safetensors")
    message = "torchlogit: array.safetensors does not say which column it predicts; name it with --target"
    assert refusal(folder, "evaluate array.safetensors data.csv") == message


def test_a_column_without_values_is_left_out_with_a_note(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,z,y", "1,,a", "2,?,b", "3,NA,b", "4,,a")})
    ended = torchlogit(folder, "train", "t.csv", "--target", "y")
    assert (ended.code, ended.stderr) == (0, "")
    assert "\nnote         column 'z' has no values and is left out\n" in ended.stdout
    assert "\nleft out     z (no values)\n" in ended.stdout


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "locked").mkdir()
    may = os.access

    def access(path: str | Path, mode: int, **kwargs: Any) -> bool:
        return Path(path) != Path("locked") and may(path, mode, **kwargs)

    monkeypatch.setattr(os, "access", access)
    ended = torchlogit(folder, "train", "nowhere.csv", "--target", "y", "-o", "locked/a.safetensors")
    assert ended.code == 1
    assert ended.stderr == (
        "torchlogit: locked/a.safetensors: the folder locked cannot be written to; write elsewhere with -o\n"
    )


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_model(function: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    message = "torchlogit: model.safetensors: cannot write the file (No space left on device); nothing was changed"
    assert refusal(folder, "train data.csv --target y --l2 5 -o model.safetensors") == message


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_leaves_the_old_predictions(suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {f"p.{suffix}": "old"})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = f"torchlogit: p.{suffix}: cannot write the file (No space left on device); nothing was changed"
    assert refusal(folder, f"{PREDICT} data.csv -o p.{suffix}") == message


def test_ctrl_c_before_the_first_step_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlogit.data.reading import source

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "open_source", interrupted)
    before = contents(folder)
    ended = torchlogit(folder, "train", "data.csv", "--target", "y", "-o", "model.safetensors")
    # The line break is click's: it ends the line that the terminal began with ^C.
    assert (ended.code, ended.stdout, ended.stderr) == (130, "", "\ntorchlogit: interrupted\n")
    assert contents(folder) == before


def test_running_out_of_memory_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlogit.data.reading import source

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(source, "open_source", exhausted)
    message = "torchlogit: out of memory; --drop columns with many levels, or take fewer rows"
    assert refusal(folder, f"{PREDICT} data.csv") == message


def test_a_header_of_numbers_earns_a_note(folder: Path) -> None:
    write(folder, {"t.csv": rows("0.5,cook,1", *(f"{i * i % 7},{JOBS[i % 3]},{i % 2}" for i in range(24)))})
    told = torchlogit(folder, *["train", "t.csv", "--target", "1", "-o", "t.safetensors"])
    note = "columns are called '0.5', '1'; if this is the first row and no header, give --no-header"
    assert f"\nnote         {note}\n" in told.stdout
    settled = torchlogit(folder, *["train", "t.csv", "--no-header", "--target", "column_3", "-o", "t.safetensors"])
    assert (settled.code, "note" in settled.stdout) == (0, False)


def test_metrics_stand_under_their_heads_whatever_the_name_of_the_file(folder: Path) -> None:
    name = "a-name-of-more-than-twelve-letters.csv"
    write(folder, {name: DATA})
    head, line, *_ = torchlogit(folder, "evaluate", "model.safetensors", name).stdout.splitlines()
    assert len(head) == len(line)
    assert line.startswith(f"{name} ")


def test_a_column_with_one_value_and_gaps_is_described(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,z,y", *(f"{i * i % 7},{'0?'[i % 3 == 0]},{'ab'[i % 2]}" for i in range(24)))})
    ended = torchlogit(folder, "train", "t.csv", "--target", "y")
    assert "\ncategorical  z (one value, some missing)\n" in ended.stdout


def test_odds_beyond_the_floats_are_null_in_json(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,y", *(f"{i * 1e-9},{'ab'[i * i % 5 > 1]}" for i in range(24)))})
    assert torchlogit(folder, *["train", "t.csv", "--target", "y", "-o", "t.safetensors", "--quiet"]).code == 0

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    printed = torchlogit(folder, "inspect", "t.safetensors", "--json").stdout
    coefficients = {line["feature"]: line for line in json.loads(printed, parse_constant=refuse)["coefficients"]}
    assert coefficients["x"]["odds_ratio"] is None
    assert abs(coefficients["x"]["value"]) > 1e6


def test_no_library_has_its_own_say(folder: Path) -> None:
    """Most rows have a class of their own: scikit-learn warns of that, and the labels have been looked at before."""
    write(folder, {"t.csv": rows("x,y", *(f"{i * i % 7},{i}.5" for i in range(12)))})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = torchlogit(folder, "train", "t.csv", "--target", "y")
    assert (ended.code, ended.stderr) == (0, "")
    assert not caught


def test_weights_may_be_in_the_target_column(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,y", "1,1", "2,2", "3,1")})
    assert torchlogit(folder, *shlex.split("train t.csv --target y --weight y --quiet")).code == 0


# What once ended in a traceback, or in a file that no command could read.

KNOWN = {
    "tolerance is no number": Bad(f"{TRAIN} --tol nan", ""),
    "tolerance is infinite": Bad(f"{TRAIN} --tol inf", ""),
    "file name too long": Bad(f"train {'a' * 300}.csv --target y", ""),
    "model name too long": Bad(f"inspect {'a' * 300}", ""),
    "all weights zero": Bad(
        "train t.csv --target y --weight w", "", {"t.csv": rows("x,w,y", "1,0,a", "2,0,b", "3,0,a")}
    ),
    "all weights zero to evaluate": Bad("evaluate model.safetensors t.csv --weight w", "", {
        "t.csv": rows("x,job,w,y", "1,cook,0,a", "2,cook,0,b")
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_bad_input_that_still_ends_in_a_traceback(name: str, folder: Path) -> None:
    write(folder, KNOWN[name].files)
    assert refusal(folder, KNOWN[name].command).startswith("torchlogit: ")


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"\xff"], ids=["list", "struct", "bytes"])
def test_a_target_of_another_type_is_refused(value: object, folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0], "y": [value, value, value]}), folder / "t.parquet")
    assert refusal(folder, "train t.parquet --target y").startswith("torchlogit: t.parquet")


def test_a_class_without_weight_is_named(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,w,y", "1,1,a", "2,0,b", "3,1,c")})
    line = refusal(folder, "train t.csv --target y --weight w")
    assert line.startswith("torchlogit: t.csv: class 'b' has no row of positive ")


def test_a_class_that_only_the_held_out_rows_have_is_refused(folder: Path) -> None:
    write(folder, {"t.csv": rows("x,y", *(f"{i * i % 7},{'c' if i == 3 else 'ab'[i % 2]}" for i in range(40)))})
    assert refusal(folder, "train t.csv --target y --holdout 0.3 --seed 0").startswith("torchlogit: t.csv")
