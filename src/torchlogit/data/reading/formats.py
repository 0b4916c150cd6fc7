"""The formats that can be read, recognised by the suffix of a file's name; without a suffix, by the first bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from torchlogit.data.reading.arrow_ipc import open_arrow
from torchlogit.data.reading.bytes import Input, Text, compression_of
from torchlogit.data.reading.csv_reader import DELIMITERS, open_csv
from torchlogit.data.reading.json_lines import open_json_lines
from torchlogit.data.reading.parquet import open_parquet
from torchlogit.data.reading.reader import Naming, Reader
from torchlogit.data.reading.svmlight import open_svmlight

Open: TypeAlias = Callable[[Input, str | None, Naming], Reader]

_COMPRESSIONS = {"": None, ".gz": "gzip", ".zst": "zstd"}  # by the suffix that follows that of the format


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. open: opens a reader of such a file. compression: of the whole file, gzip, zstd or None."""

    open: Open
    compression: str | None = None


_TEXT_FORMATS: dict[str, Open] = {
    **{suffix: partial(open_csv, delimiter=delimiter) for suffix, delimiter in DELIMITERS.items()},
    ".jsonl": open_json_lines,
    ".svm": open_svmlight,
    ".libsvm": open_svmlight,
    ".svmlight": open_svmlight,
}
_BINARY_FORMATS: dict[str, Open] = {
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".feather": open_arrow,
}

FORMATS = {
    **{
        suffix + packed: Format(open_, compression)
        for suffix, open_ in _TEXT_FORMATS.items()
        for packed, compression in _COMPRESSIONS.items()
    },
    **{suffix: Format(open_) for suffix, open_ in _BINARY_FORMATS.items()},
}
KNOWN = f"{', '.join(_TEXT_FORMATS)} (each also .gz or .zst), {', '.join(_BINARY_FORMATS)}"

_SVMLIGHT_LINE = re.compile(r"[-+]?[\d.]\S*(\s+(qid|\d+):\S+)+\s*(#.*)?$")
_MAGICS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff\xff\xff\xff": ".arrow"}


def format_of(name: str) -> Format | None:
    """The format that belongs to the suffix of a file's name; None for an unknown suffix.

    >>> format_of("A9A.svm.gz").compression, format_of("notes.txt")
    ('gzip', None)
    """
    return next((found for suffix, found in FORMATS.items() if name.lower().endswith(suffix)), None)


def format_within(source: Input) -> Format:
    """The format recognised from the first bytes; CSV if no other format is recognised."""
    compression = compression_of(source)
    with Text(source, compression).open() as stream:
        start = stream.read(1)  # only as many bytes as are needed: a pipe may have no more of them for a while
        start += stream.read(7) if start[:1] in (b"P", b"A", b"\xff") else b""
    binary = next((suffix for magic, suffix in _MAGICS.items() if start.startswith(magic)), None)
    if binary is not None:
        return FORMATS[binary]
    line = next((line for line in Text(source, compression).lines() if line.strip()), "")
    packed = next(suffix for suffix, name in _COMPRESSIONS.items() if name == compression)
    return FORMATS[_suffix_for(line.strip()) + packed]


def _suffix_for(line: str) -> str:
    """The suffix of the format of a text, recognised from its first line.

    >>> _suffix_for('{"age": 39}'), _suffix_for("+1 3:0.5 7:1"), _suffix_for("age,job")
    ('.jsonl', '.svm', '.csv')
    """
    if line.startswith("{"):
        return ".jsonl"
    if _SVMLIGHT_LINE.match(line):
        return ".svm"
    return next((suffix for suffix, delimiter in DELIMITERS.items() if delimiter in line), ".csv")
