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
AnyArray: TypeAlias = pa.Array | pa.ChunkedArray

_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
_FIRST_ROWS = 100  # tried before all: a cast that fails is slow, for it words an error for every value


@dataclass(frozen=True, slots=True)
class Levels:
    """A column of text: the distinct `texts` in it, and the index of each row's text, -1 where it is missing."""

    codes: NDArray[np.int32]
    texts: pa.Array

    def counts(self) -> NDArray[np.int64]:
        """The number of rows of each text."""
        return np.bincount(self.codes + 1, minlength=len(self.texts) + 1)[1:]


def as_levels(column: pa.ChunkedArray) -> Levels:
    """The distinct texts of a column, trimmed, in order of appearance; numbers are written out, 3.0 as 3.

    >>> read = as_levels(pa.chunked_array([[" a", "b", "a ", "?"]]))
    >>> read.texts.to_pylist(), read.codes.tolist()
    (['a', 'b'], [0, 1, 0, -1])
    """
    codes, values = _distinct(column)
    # What is equal as it stands is trimmed and looked at once.
    plain = missing_as_null(values)
    encoded = (plain if is_text(plain.type) else plain.cast(pa.string())).dictionary_encode()
    if len(encoded.dictionary) < len(values):
        codes = np.append(encoded.indices.fill_null(-1).to_numpy(), np.int32(-1))[codes]
    return Levels(codes, encoded.dictionary)


def _distinct(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The distinct values of a column in order of appearance, and the index of each row's, -1 for null."""
    if pa.types.is_dictionary(column.type):
        # A dictionary may hold values that no row has.
        column = column.unify_dictionaries()
        codes, used = _encoded(pa.chunked_array([chunk.indices for chunk in column.chunks], column.type.index_type))
        return codes, column.chunk(0).dictionary.take(used) if column.num_chunks else pa.array([], pa.string())
    plain = _decoded(column)
    return _encoded(plain if is_text(plain.type) or pa.types.is_integer(plain.type) else plain.cast(pa.string()))


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    encoded = column.dictionary_encode()
    if encoded.num_chunks == 0:
        return np.empty(0, np.int32), pa.array([], column.type)
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    joined = codes[0] if len(codes) == 1 else np.concatenate(codes)
    return joined, encoded.chunk(encoded.num_chunks - 1).dictionary


def as_numbers(column: pa.ChunkedArray) -> Floats | None:
    """The column in float64, NaN where it is missing; None where some value is no number. Infinity is a number here.

    >>> as_numbers(pa.chunked_array([["39", " 1e5 ", "?"]]))
    array([3.9e+01, 1.0e+05,     nan])
    >>> as_numbers(pa.chunked_array([["39", "abc"]])) is None
    True
    """
    plain = _decoded(column)
    if is_text(plain.type):
        if _parsed(missing_as_null(plain.slice(0, _FIRST_ROWS))) is None:
            return None
        # Most columns of numbers hold nothing else, or nothing but missing tokens, and need no trimming.
        for reading in (_as_it_is, _without_tokens, missing_as_null):
            if (numbers := _parsed(reading(plain))) is not None:
                return numbers
        return None
    return _float64(plain) if is_number(plain.type) else None


def first_not_number(column: pa.ChunkedArray) -> int:
    """The first row whose value is neither missing nor a number."""
    plain = missing_as_null(column)
    wrong = pc.invert(written_as_numbers(plain)) if is_text(plain.type) else plain.is_valid()
    return int(np.argmax(wrong.fill_null(False).to_numpy()))


def written_as_numbers(texts: AnyArray) -> AnyArray:
    """Whether each trimmed text is a number, infinity among them."""
    return pc.match_substring_regex(texts, _NUMBER)


def missing_as_null(column: AnyArray) -> AnyArray:
    """The column with text trimmed, and null wherever a value is missing: a missing token, or NaN."""
    plain = _decoded(column)
    if is_text(plain.type):
        return _without_tokens(pc.utf8_trim_whitespace(plain))
    if pa.types.is_floating(plain.type):
        return pc.if_else(pc.is_nan(plain), pa.scalar(None, plain.type), plain)
    return plain


def _without_tokens(text: AnyArray) -> AnyArray:
    missing = pc.is_in(text, value_set=pa.array(MISSING_TOKENS, text.type))
    return pc.if_else(missing, pa.scalar(None, text.type), text)


def _as_it_is(text: AnyArray) -> AnyArray:
    return text


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds numbers; truths are 1 and 0, and the type of nothing but nulls is among them."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def _decoded(column: AnyArray) -> AnyArray:
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
