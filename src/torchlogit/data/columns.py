"""A column of a table as numbers, or as the distinct texts in it (levels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""Texts that stand for a missing value, after trimming: those that R, pandas, SQL and the UCI tables write.

"none", "unknown" and "-" are not among them: in many tables they are valid answers.
"""

Floats: TypeAlias = NDArray[np.float64]
AnyArray: TypeAlias = pa.Array | pa.ChunkedArray

_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"

# Rows of a column that are parsed before all of it: text that holds no numbers fails there. A failed cast of the whole
# column is slow, as pyarrow formats an error message for every value.
_FIRST_ROWS = 100


@dataclass(frozen=True, slots=True)
class Levels:
    """A column of text: its distinct `texts`, and in `codes` the index of each row's text, -1 where it is missing."""

    codes: NDArray[np.int32]
    texts: pa.Array

    def counts(self) -> NDArray[np.int64]:
        """The number of rows of each text."""
        return np.bincount(self.codes + 1, minlength=len(self.texts) + 1)[1:]


def as_levels(column: pa.ChunkedArray) -> Levels:
    """The distinct texts of a column, trimmed, in order of appearance; numbers become text, 3.0 becomes 3.

    >>> levels = as_levels(pa.chunked_array([[" a", "b", "a ", "?"]]))
    >>> levels.texts.to_pylist(), levels.codes.tolist()
    (['a', 'b'], [0, 1, 0, -1])
    """
    codes, values = _distinct(column)
    # Only distinct values are trimmed. Texts that differ in white space alone then become one.
    trimmed = missing_as_null(values)
    encoded = (trimmed if is_text(trimmed.type) else trimmed.cast(pa.string())).dictionary_encode()
    if len(encoded.dictionary) < len(values):
        codes = np.append(encoded.indices.fill_null(-1).to_numpy(), np.int32(-1))[codes]
    return Levels(codes, encoded.dictionary)


def _distinct(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The index of each row's value among the distinct values, -1 for null; and these, in order of appearance."""
    if pa.types.is_dictionary(column.type):
        # Encoded again, as a dictionary may hold values that no row has.
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
        # Cheapest first: most columns of numbers hold no missing tokens, and most others need no trimming.
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
    """Whether each text, trimmed, is a number as people write it, or infinity."""
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
