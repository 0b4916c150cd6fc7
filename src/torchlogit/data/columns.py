"""One column of a table, read as numbers or as levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""Text that stands for a missing value, after trimming: what R, pandas, SQL and the UCI tables write.

Words such as "none", "unknown" or "-" are left alone: they often are an answer.
"""

Floats: TypeAlias = NDArray[np.float64]

_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
_FIRST_ROWS = 100  # tried before all: a cast that fails is slow, for it words an error for every value


@dataclass(frozen=True, slots=True)
class Levels:
    """A column of text: the distinct `texts` in it, and the index of each row's text, -1 where it is missing."""

    codes: NDArray[np.int32]
    texts: pa.Array

    def counts(self) -> NDArray[np.int64]:
        """The number of rows of each text."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))


def as_levels(column: pa.ChunkedArray) -> Levels:
    """The distinct texts of a column, trimmed, in order of appearance; numbers are written out, 3.0 as 3.

    >>> read = as_levels(pa.chunked_array([[" a", "b", "a ", "?"]]))
    >>> read.texts.to_pylist(), read.codes.tolist()
    (['a', 'b'], [0, 1, 0, -1])
    """
    text = missing_as_null(column)
    encoded = (text if is_text(text.type) else text.cast(pa.string())).dictionary_encode()
    if encoded.num_chunks == 0:
        return Levels(np.empty(0, np.int32), pa.array([], pa.string()))
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    return Levels(np.concatenate(codes), encoded.chunk(encoded.num_chunks - 1).dictionary)


def as_numbers(column: pa.ChunkedArray) -> Floats | None:
    """The column in float64, NaN where it is missing; None where some value is no number. Infinity is a number here.

    >>> as_numbers(pa.chunked_array([["39", " 1e5 ", "?"]]))
    array([3.9e+01, 1.0e+05,     nan])
    >>> as_numbers(pa.chunked_array([["39", "abc"]])) is None
    True
    """
    plain = _decoded(column)
    if is_text(plain.type):
        # Most columns of numbers hold nothing else, and need no trimming.
        numbers = _parsed(plain)
        return _parsed(missing_as_null(plain)) if numbers is None else numbers
    return _float64(plain) if is_number(plain.type) else None


def first_not_number(column: pa.ChunkedArray) -> int:
    """The first row whose value is neither missing nor a number."""
    plain = missing_as_null(column)
    wrong = pc.invert(written_as_numbers(plain)) if is_text(plain.type) else plain.is_valid()
    return int(np.argmax(wrong.fill_null(False).to_numpy()))


def written_as_numbers(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Whether each trimmed text is a number, infinity among them."""
    return pc.match_substring_regex(texts, _NUMBER)


def missing_as_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with text trimmed, and null wherever a value is missing: a missing token, or NaN."""
    plain = _decoded(column)
    if is_text(plain.type):
        plain = pc.utf8_trim_whitespace(plain)
        missing = pc.is_in(plain, value_set=pa.array(MISSING_TOKENS, plain.type))
    elif pa.types.is_floating(plain.type):
        missing = pc.is_nan(plain)
    else:
        return plain
    return pc.if_else(missing, pa.scalar(None, plain.type), plain)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds numbers; truths are 1 and 0, and the type of nothing but nulls is among them."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in a type that all of pyarrow's functions take."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _parsed(text: pa.ChunkedArray) -> Floats | None:
    try:
        text.slice(0, _FIRST_ROWS).cast(pa.float64())
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    values = cast(Floats, numbers.to_numpy())
    # The cast also takes "NAN" and "-nan", which are no missing tokens.
    return values if np.count_nonzero(np.isnan(values)) == numbers.null_count else None


def _float64(column: pa.ChunkedArray) -> Floats:
    return cast(Floats, column.cast(pa.float64(), safe=False).to_numpy())
