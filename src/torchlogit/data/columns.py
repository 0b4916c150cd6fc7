"""Reads a column of a table as numbers, or as levels (its distinct texts)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""Texts that stand for a missing value, after white space is trimmed: those that R, pandas, SQL and UCI tables write.

"none", "unknown" and "-" are not included, since they are valid answers in many tables.
"""

Floats: TypeAlias = NDArray[np.float64]
AnyArray: TypeAlias = pa.Array | pa.ChunkedArray

_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"

# The first rows of a text column, parsed before the whole column: a column of words fails on them at little cost. A
# failed cast of the whole column is slow, since pyarrow formats an error message for every value.
_FIRST_ROWS = 100


@dataclass(frozen=True, slots=True)
class Levels:
    """A column of text. texts: its distinct texts. codes: the index in `texts` for each row, -1 if missing."""

    codes: NDArray[np.int32]
    texts: pa.Array

    def counts(self) -> NDArray[np.int64]:
        """The number of rows of each text."""
        return np.bincount(self.codes + 1, minlength=len(self.texts) + 1)[1:]


def as_levels(column: pa.ChunkedArray) -> Levels:
    """The distinct texts of a column, trimmed, in order of appearance. Numbers are written as text, 3.0 as "3".

    >>> levels = as_levels(pa.chunked_array([[" a", "b", "a ", "?"]]))
    >>> levels.texts.to_pylist(), levels.codes.tolist()
    (['a', 'b'], [0, 1, 0, -1])
    """
    codes, values = _distinct(column)
    # Only the distinct values are trimmed, which is faster. Texts that differ only in white space then become equal, so
    # that they are encoded a second time.
    trimmed = missing_as_null(values)
    encoded = (trimmed if is_text(trimmed.type) else trimmed.cast(pa.string())).dictionary_encode()
    if len(encoded.dictionary) < len(values):
        codes = np.append(encoded.indices.fill_null(-1).to_numpy(), np.int32(-1))[codes]
    return Levels(codes, encoded.dictionary)


def _distinct(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """For each row the index of its value, -1 for null; and the distinct values, in order of appearance."""
    if pa.types.is_dictionary(column.type):
        # The indices are encoded again, since a dictionary may hold values that no row has.
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
    """The column as float64, NaN where a value is missing; None if any value is not a number. Infinity is a number.

    >>> as_numbers(pa.chunked_array([["39", " 1e5 ", "?"]]))
    array([3.9e+01, 1.0e+05,     nan])
    >>> as_numbers(pa.chunked_array([["39", "abc"]])) is None
    True
    """
    plain = _decoded(column)
    if is_text(plain.type):
        if _parsed(missing_as_null(plain.slice(0, _FIRST_ROWS))) is None:
            return None
        # The cheapest preparation first: most columns of numbers hold no missing tokens, and few need trimming.
        for prepare in (_unchanged, _tokens_as_null, missing_as_null):
            if (numbers := _parsed(prepare(plain))) is not None:
                return numbers
    if is_number(plain.type):
        return cast(Floats, plain.cast(pa.float64(), safe=False).to_numpy())
    return None


def first_not_number(column: pa.ChunkedArray) -> int:
    """The index of the first row whose value is neither missing nor a number."""
    plain = missing_as_null(column)
    wrong = pc.invert(look_like_numbers(plain)) if is_text(plain.type) else plain.is_valid()
    return int(np.argmax(wrong.fill_null(False).to_numpy()))


def look_like_numbers(texts: AnyArray) -> AnyArray:
    """Whether each trimmed text is a number in decimal notation, with or without exponent, or infinity."""
    return pc.match_substring_regex(texts, _NUMBER)


def missing_as_null(column: AnyArray) -> AnyArray:
    """The column with text trimmed, and with null in place of missing tokens and NaN."""
    plain = _decoded(column)
    if is_text(plain.type):
        return _tokens_as_null(pc.utf8_trim_whitespace(plain))
    if pa.types.is_floating(plain.type):
        return pc.if_else(pc.is_nan(plain), pa.scalar(None, plain.type), plain)
    return plain


def _tokens_as_null(text: AnyArray) -> AnyArray:
    missing = pc.is_in(text, value_set=pa.array(MISSING_TOKENS, text.type))
    return pc.if_else(missing, pa.scalar(None, text.type), text)


def _unchanged(text: AnyArray) -> AnyArray:
    return text


def is_text(type_: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return any(test(type_) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def is_number(type_: pa.DataType) -> bool:
    """Whether an Arrow type holds numbers. Booleans count as 1 and 0, and the null type as all missing."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(test(type_) for test in tests)


def _decoded(column: AnyArray) -> AnyArray:
    """The column without its dictionary, and in a type that all of the pyarrow functions used here support."""
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
    # The cast also accepts "NAN" and "-nan", which are not missing tokens.
    return values if np.count_nonzero(np.isnan(values)) == numbers.null_count else None
