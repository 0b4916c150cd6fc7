"""The kinds of files that can be read, by suffix, or for bytes that have none by how they begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from torchlogit.data.reading.arrow_ipc import open_arrow
from torchlogit.data.reading.bytes import Input, Text, packed_by
from torchlogit.data.reading.csv_reader import open_csv
from torchlogit.data.reading.json_lines import open_json_lines
from torchlogit.data.reading.parquet import open_parquet
from torchlogit.data.reading.reader import Naming, Reader
from torchlogit.data.reading.svmlight_reader import LABEL, open_svmlight

Opens: TypeAlias = Callable[[Input, str | None, Naming], Reader]

_PACKED = {"": None, ".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Format:
    """How a kind of file is opened, how its files are compressed as a whole, and the target that it has of its own."""

    opens: Opens
    compression: str | None = None
    target: str | None = None


_TEXTS: dict[str, tuple[Opens, str | None]] = {
    ".csv": (partial(open_csv, delimiter=","), None),
    ".tsv": (partial(open_csv, delimiter="\t"), None),
    ".jsonl": (open_json_lines, None),
    ".svm": (open_svmlight, LABEL),
    ".libsvm": (open_svmlight, LABEL),
    ".svmlight": (open_svmlight, LABEL),
}
_BINARIES: dict[str, Opens] = {
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".feather": open_arrow,
}

FORMATS = {
    **{
        suffix + packed: Format(opens, compression, target)
        for suffix, (opens, target) in _TEXTS.items()
        for packed, compression in _PACKED.items()
    },
    **{suffix: Format(opens) for suffix, opens in _BINARIES.items()},
}
KNOWN = f"{', '.join(_TEXTS)} (each also .gz or .zst), {', '.join(_BINARIES)}"

# The first line of text without a suffix, where it is not CSV.
_SVMLIGHT_LINE = re.compile(r"[-+]?[\d.]\S*(\s+(qid|\d+):\S+)+\s*(#.*)?$")
_MAGICS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff\xff\xff\xff": ".arrow"}


def format_of(name: str) -> Format | None:
    """The format that a file's name tells of.

    >>> format_of("A9A.svm.gz").compression, format_of("notes.txt")
    ('gzip', None)
    """
    return next((found for suffix, found in FORMATS.items() if name.lower().endswith(suffix)), None)


def format_within(source: Input) -> Format:
    """The format that the bytes tell of: CSV where they tell nothing else."""
    compression = packed_by(source)
    with Text(source, compression).open() as stream:
        start = stream.read(1)  # a pipe may give no more for a while, and needs no more to be told apart by
        start += stream.read(7) if start[:1] in (b"P", b"A", b"\xff") else b""
    binary = next((suffix for magic, suffix in _MAGICS.items() if start.startswith(magic)), None)
    if binary is not None:
        return FORMATS[binary]
    line = next((line for line in Text(source, compression).lines() if line.strip()), "")
    packed = next(suffix for suffix, kind in _PACKED.items() if kind == compression)
    return FORMATS[_kind_of_text(line.strip()) + packed]


def _kind_of_text(line: str) -> str:
    """The suffix of text with such a first line.

    >>> _kind_of_text('{"age": 39}'), _kind_of_text("+1 3:0.5 7:1"), _kind_of_text("age,job")
    ('.jsonl', '.svm', '.csv')
    """
    if line.startswith("{"):
        return ".jsonl"
    if _SVMLIGHT_LINE.match(line):
        return ".svm"
    return ".tsv" if "\t" in line and "," not in line else ".csv"
