"""The Adult tables that the project ships: what they hold, that their README tells the truth, how they are made."""

from __future__ import annotations

import csv
import gzip
import hashlib
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

from places import DATA, ROOT

ADULT = ROOT / "examples" / "adult"
RAW = DATA / "adult"
HEADER = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,"
    "race,sex,capital_gain,capital_loss,hours_per_week,native_country,income"
)
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
TABLES = {
    "adult-train.csv.gz": {"<=50K": 24_720, ">50K": 7_841},
    "adult-test.csv.gz": {"<=50K": 12_435, ">50K": 3_846},
}


def make(raw: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ADULT / "make.py"), str(raw), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TABLES)
def test_the_shipped_table_has_its_rows_header_and_labels(name: str) -> None:
    lines = gzip.decompress((ADULT / name).read_bytes()).decode("ascii").splitlines()
    assert lines[0] == HEADER
    rows = list(csv.DictReader(lines))
    assert len(rows) == {"adult-train.csv.gz": 32_561, "adult-test.csv.gz": 16_281}[name]
    assert Counter(row["income"] for row in rows) == TABLES[name]
    values = [value for row in rows for value in row.values()]
    assert all(value and value == value.strip() for value in values)
    assert all(row[column].isdigit() for row in rows for column in NUMBERS)
    missing = {column for row in rows for column, value in row.items() if value == "?"}
    assert missing == {"workclass", "occupation", "native_country"}


def test_the_readme_counts_the_levels_right() -> None:
    readme = (ADULT / "README.md").read_text(encoding="utf-8")
    content = gzip.decompress((ADULT / "adult-train.csv.gz").read_bytes()).decode("ascii")
    rows = list(csv.DictReader(content.splitlines()))
    for column in HEADER.split(",")[:-1]:
        if column not in NUMBERS:
            levels = {row[column] for row in rows} - {"?"}
            assert f"| {column} | category, {len(levels)} levels" in readme


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_tells_the_sha256(name: str) -> None:
    (line,) = (line for line in (ADULT / "README.md").read_text(encoding="utf-8").splitlines() if f"| {name} |" in line)
    assert hashlib.sha256((ADULT / name).read_bytes()).hexdigest() in line


@pytest.mark.parametrize("name", TABLES)
def test_the_gzip_header_names_no_file_and_no_time(name: str) -> None:
    header = (ADULT / name).read_bytes()[:10]
    assert header[3] == 0
    assert header[4:8] == bytes(4)


def test_make_reads_the_files_as_uci_names_them(tmp_path: Path) -> None:
    person = "39, State-gov, 77516, Bachelors, 13, Never-married, ?, Husband, White, Male, 0, 0, 40, ?, "
    (tmp_path / "adult.data").write_text(f"{person}<=50K\n\n", encoding="ascii")
    (tmp_path / "adult.test").write_text(f"|1x3 Cross validator\n{person}>50K.\n\n", encoding="ascii")
    made = make(tmp_path, tmp_path / "new" / "folder")
    assert (made.returncode, made.stderr) == (0, "")
    clean = "39,State-gov,77516,Bachelors,13,Never-married,?,Husband,White,Male,0,0,40,?,"
    for name, label in (("adult-train.csv.gz", "<=50K"), ("adult-test.csv.gz", ">50K")):
        content = gzip.decompress((tmp_path / "new" / "folder" / name).read_bytes()).decode("ascii")
        assert content == f"{HEADER}\n{clean}{label}\n"


def test_make_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    made = make(tmp_path, tmp_path)
    assert made.returncode == 1
    assert made.stderr.strip() == f"{tmp_path}: expected a file named adult.data or adult-train.csv"
    (tmp_path / "adult.data").write_text("\n39, State-gov\n", encoding="ascii")
    made = make(tmp_path, tmp_path)
    assert made.returncode == 1
    assert "adult.data, line 2: expected 15 fields" in made.stderr


@pytest.mark.data
@pytest.mark.skipif(not RAW.is_dir(), reason="the raw Adult files are not beside the project, in ../shared/data/adult")
def test_make_reproduces_the_shipped_files(tmp_path: Path) -> None:
    made = make(RAW, tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    for name in TABLES:
        new, shipped = (tmp_path / name).read_bytes(), (ADULT / name).read_bytes()
        assert gzip.decompress(new) == gzip.decompress(shipped)
        # zlib-ng packs the same text into other bytes.
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:
            assert new == shipped
