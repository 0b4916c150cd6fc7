"""Turns the raw Adult census files into the two tables shipped here: a header, no padding, clean labels.

    python examples/adult/make.py RAW_FOLDER OUTPUT_FOLDER

RAW_FOLDER holds adult.data and adult.test, as UCI names them, or adult-train.csv and adult-test.csv.
The same raw files give the same bytes.
"""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path

HEADER = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,"
    "race,sex,capital_gain,capital_loss,hours_per_week,native_country,income"
)
N_FIELDS = 15
LABELS = ("<=50K", ">50K")
TABLES = {
    "adult-train.csv.gz": ("adult.data", "adult-train.csv"),
    "adult-test.csv.gz": ("adult.test", "adult-test.csv"),
}


def rows(raw: Path) -> Iterator[str]:
    """Each person's fields without padding, in the order of the raw file."""
    with raw.open(encoding="ascii") as lines:
        for number, line in enumerate(lines, start=1):
            # The test file opens with a comment, "|1x3 Cross validator"; both may end in blank lines.
            if not line.strip() or line.startswith("|"):
                continue
            fields = [field.strip() for field in line.split(",")]
            # The labels of the test file, and only they, end in a full stop.
            fields[-1] = fields[-1].removesuffix(".")
            if len(fields) != N_FIELDS or fields[-1] not in LABELS:
                raise SystemExit(f"{raw}, line {number}: expected {N_FIELDS} fields, the last {' or '.join(LABELS)}")
            yield ",".join(fields)


def table(raw: Path) -> bytes:
    """The raw file as CSV with a header."""
    return "".join(f"{row}\n" for row in (HEADER, *rows(raw))).encode("ascii")


def packed(content: bytes, path: Path) -> None:
    """Writes `content` with gzip; neither the time nor the file's name enters the bytes."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packer:
        packer.write(content)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the shipped Adult tables from the raw files.")
    parser.add_argument("raw_folder", type=Path)
    parser.add_argument("output_folder", type=Path)
    arguments = parser.parse_args()
    arguments.output_folder.mkdir(parents=True, exist_ok=True)
    for name, raw_names in TABLES.items():
        found = [path for raw_name in raw_names if (path := arguments.raw_folder / raw_name).is_file()]
        if not found:
            raise SystemExit(f"{arguments.raw_folder}: expected a file named {' or '.join(raw_names)}")
        packed(table(found[0]), arguments.output_folder / name)


if __name__ == "__main__":
    main()
