"""The compiled loop that parses lines of svmlight text.

It is compiled when it is first called with a type of values, which takes two seconds, and then cached on disk. Numbers
of more than 19 digits, and the few that the fast method cannot round with certainty, are left to the caller.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from torchlogit.kernels.decimals import to_float

# Codes of faults: what is wrong with a line.
NO_FAULT, BAD_LABEL, SEVERAL_LABELS, NO_LABEL, BAD_INDEX, BAD_VALUE, LARGE_INDEX = range(7)

_compiled = njit(nogil=True, cache=True)
_MAX_INDEX = 2**31 - 1  # indices are stored as int32
_MAX_MANTISSA, _TEN = np.uint64(10**18), np.uint64(10)  # below 10^18, one more digit fits into a uint64
_MAX_EXPONENT = 100_000  # larger ones are clipped: the number is 0 or infinite in any case

# Bytes of ASCII.
_SPACE, _TAB, _NEWLINE, _RETURN, _HASH = 32, 9, 10, 13, 35
_PLUS, _COMMA, _MINUS, _POINT, _ZERO, _NINE, _COLON = 43, 44, 45, 46, 48, 57, 58
_UPPER_E, _LOWER_E = 69, 101


@_compiled
def _ends_word(byte):  # type: ignore[no-untyped-def]
    """Whether a byte ends a word: white space, or the start of a comment."""
    return byte in (_SPACE, _HASH) or (byte >= _TAB and byte <= _RETURN)


@_compiled
def _is_digit(byte):  # type: ignore[no-untyped-def]
    return byte >= _ZERO and byte <= _NINE


@_compiled
def _number(text, at):  # type: ignore[no-untyped-def]
    """Parse the number at a position: its value, its end (-1 if there is none), and whether it is rounded correctly."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    mantissa, n_digits, exponent, fits = np.uint64(0), 0, 0, True
    after_point = False
    while True:
        if _is_digit(text[at]):
            n_digits += 1
            if mantissa < _MAX_MANTISSA:
                mantissa = mantissa * _TEN + np.uint64(text[at] - _ZERO)
                exponent -= after_point
            else:
                fits = False
        elif text[at] == _POINT and not after_point:
            after_point = True
        else:
            break
        at += 1
    if n_digits == 0:
        return 0.0, -1, False
    if text[at] == _UPPER_E or text[at] == _LOWER_E:
        at += 1
        minus = text[at] == _MINUS
        if minus or text[at] == _PLUS:
            at += 1
        if not _is_digit(text[at]):
            return 0.0, -1, False
        written = 0
        while _is_digit(text[at]):
            written = min(written * 10 + (text[at] - _ZERO), _MAX_EXPONENT)
            at += 1
        exponent += -written if minus else written
    value, exact = to_float(mantissa, exponent)
    return -value if negative else value, at, fits and exact


@_compiled
def _index(text, at):  # type: ignore[no-untyped-def]
    """Parse the whole number at a position: its value, at most _MAX_INDEX + 1, and its end."""
    index = 0
    while _is_digit(text[at]):
        index = min(index * 10 + (text[at] - _ZERO), _MAX_INDEX + 1)
        at += 1
    return index, at


@_compiled
def _is_qid(text, at):  # type: ignore[no-untyped-def]
    """Whether `qid:` is at a position; the line end, which comes at the latest, keeps this within the text."""
    return text[at] == 113 and text[at + 1] == 105 and text[at + 2] == 100 and text[at + 3] == _COLON


@_compiled
def parse(text, targets, starts, indptr, indices, values, inexact):  # type: ignore[no-untyped-def]
    """Parse complete lines into arrays that are large enough for them.

    Parameters
    ----------
    text
        Bytes, uint8; the last line has its line end.
    targets, starts
        (rows,): the label of each row, and its position in the text.
    indptr, indices, values
        (rows + 1,), (entries,), (entries,): the features as CSR.
    inexact
        (rows + entries, 3): numbers that the caller has to parse: the entry that each belongs to, or -1 - row for a
        label, and its start and end in the text.

    Returns
    -------
    The code of the fault and its position in the text; the numbers of rows, of inexact numbers and of qids; and whether
    the indices ascend in every row. If there is a fault, the arrays are filled up to it.
    """
    at, row, entry, n_inexact, n_qids, ascends = 0, 0, 0, 0, 0, True
    indptr[0] = 0
    while at < len(text):
        while text[at] != _NEWLINE and (text[at] == _SPACE or (text[at] >= _TAB and text[at] <= _RETURN)):
            at += 1
        if text[at] == _NEWLINE:
            at += 1
            continue
        if text[at] != _HASH:
            start = at
            value, at, exact = _number(text, start)
            if at < 0:
                return BAD_LABEL, start, row, n_inexact, n_qids, ascends
            if text[at] == _COMMA:
                return SEVERAL_LABELS, start, row, n_inexact, n_qids, ascends
            if text[at] == _COLON:
                return NO_LABEL, start, row, n_inexact, n_qids, ascends
            if not _ends_word(text[at]):
                return BAD_LABEL, start, row, n_inexact, n_qids, ascends
            targets[row], starts[row] = value, start
            if not exact:
                inexact[n_inexact, 0], inexact[n_inexact, 1], inexact[n_inexact, 2] = -1 - row, start, at
                n_inexact += 1
            last = -1
            while True:
                while text[at] != _NEWLINE and (text[at] == _SPACE or (text[at] >= _TAB and text[at] <= _RETURN)):
                    at += 1
                if text[at] == _NEWLINE or text[at] == _HASH:
                    break
                start = at
                index, at = _index(text, start)
                if at == start and _is_qid(text, start):
                    n_qids += 1
                    while not _ends_word(text[at]):
                        at += 1
                    continue
                if at == start or text[at] != _COLON:
                    return BAD_INDEX, start, row, n_inexact, n_qids, ascends
                if index > _MAX_INDEX:
                    return LARGE_INDEX, start, row, n_inexact, n_qids, ascends
                start = at + 1
                value, at, exact = _number(text, start)
                if at < 0 or not _ends_word(text[at]):
                    return BAD_VALUE, start, row, n_inexact, n_qids, ascends
                ascends = ascends and index > last
                last = index
                indices[entry], values[entry] = index, value
                if not exact:
                    inexact[n_inexact, 0], inexact[n_inexact, 1], inexact[n_inexact, 2] = entry, start, at
                    n_inexact += 1
                entry += 1
            row += 1
            indptr[row] = entry
        while text[at] != _NEWLINE:
            at += 1
        at += 1
    return NO_FAULT, at, row, n_inexact, n_qids, ascends
