"""The loop that reads svmlight's lines, compiled when it first meets a type of value: two seconds, once; then cached.

Numbers of more than 19 digits, and the very few whose last bit is not known, are left to the caller, with their places.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from torchlogit.kernels.decimals import to_float

# What is wrong with a line.
NO_FAULT, BAD_LABEL, SEVERAL_LABELS, NO_LABEL, BAD_INDEX, BAD_VALUE, LARGE_INDEX = range(7)

_compiled = njit(nogil=True, cache=True)
_MOST = 2**31 - 1  # the largest index
_ROOM, _TEN = np.uint64(10**18), np.uint64(10)  # one more digit fits
_SPACE, _TAB, _NEWLINE, _RETURN, _HASH = 32, 9, 10, 13, 35
_PLUS, _COMMA, _MINUS, _POINT, _ZERO, _NINE, _COLON = 43, 44, 45, 46, 48, 57, 58
_UPPER_E, _LOWER_E = 69, 101


@_compiled
def _ends(byte):  # type: ignore[no-untyped-def]
    """Whether a byte ends a word: white space, or the start of a comment."""
    return byte in (_SPACE, _HASH) or (byte >= _TAB and byte <= _RETURN)


@_compiled
def _is_digit(byte):  # type: ignore[no-untyped-def]
    return byte >= _ZERO and byte <= _NINE


@_compiled
def _number(text, at):  # type: ignore[no-untyped-def]
    """The number at a place, where it ends (-1: there is none), and whether it is exact or still to be read."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    mantissa, digits, power, fits = np.uint64(0), 0, 0, True
    after_point = False
    while True:
        if _is_digit(text[at]):
            digits += 1
            if mantissa < _ROOM:
                mantissa = mantissa * _TEN + np.uint64(text[at] - _ZERO)
                power -= after_point
            else:
                fits = False
        elif text[at] == _POINT and not after_point:
            after_point = True
        else:
            break
        at += 1
    if digits == 0:
        return 0.0, -1, False
    if text[at] == _UPPER_E or text[at] == _LOWER_E:
        at += 1
        down = text[at] == _MINUS
        if down or text[at] == _PLUS:
            at += 1
        if not _is_digit(text[at]):
            return 0.0, -1, False
        given = 0
        while _is_digit(text[at]):
            given = min(given * 10 + (text[at] - _ZERO), 100_000)
            at += 1
        power += -given if down else given
    value, known = to_float(mantissa, power)
    return -value if negative else value, at, fits and known


@_compiled
def _index(text, at):  # type: ignore[no-untyped-def]
    """The whole number at a place, and where it ends; beyond the largest index, one more than that."""
    index = 0
    while _is_digit(text[at]):
        index = min(index * 10 + (text[at] - _ZERO), _MOST + 1)
        at += 1
    return index, at


@_compiled
def _is_qid(text, at):  # type: ignore[no-untyped-def]
    """Whether `qid:` is at a place; a line end stops the look in time."""
    return text[at] == 113 and text[at + 1] == 105 and text[at + 2] == 100 and text[at + 3] == _COLON


@_compiled
def parse(text, targets, starts, indptr, indices, values, open_numbers):  # type: ignore[no-untyped-def]
    """Reads whole lines, the last with its line end, into arrays large enough for them.

    targets (rows,), starts (rows,): the place of each label; indptr (rows + 1,), indices and values (entries,): CSR.
    open_numbers (rows + entries, 3): where a number belongs (the entry, or -1 - row for a target), its start and end.
    Returns the fault, its place, and the numbers of rows, of open numbers, of qids, and whether every row ascends.
    """
    at, row, entry, n_open, n_qids, ascends = 0, 0, 0, 0, 0, True
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
                return BAD_LABEL, start, row, n_open, n_qids, ascends
            if text[at] == _COMMA:
                return SEVERAL_LABELS, start, row, n_open, n_qids, ascends
            if text[at] == _COLON:
                return NO_LABEL, start, row, n_open, n_qids, ascends
            if not _ends(text[at]):
                return BAD_LABEL, start, row, n_open, n_qids, ascends
            targets[row], starts[row] = value, start
            if not exact:
                open_numbers[n_open, 0], open_numbers[n_open, 1], open_numbers[n_open, 2] = -1 - row, start, at
                n_open += 1
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
                    while not _ends(text[at]):
                        at += 1
                    continue
                if at == start or text[at] != _COLON:
                    return BAD_INDEX, start, row, n_open, n_qids, ascends
                if index > _MOST:
                    return LARGE_INDEX, start, row, n_open, n_qids, ascends
                begin = at + 1
                value, at, exact = _number(text, begin)
                if at < 0 or not _ends(text[at]):
                    return BAD_VALUE, begin, row, n_open, n_qids, ascends
                ascends = ascends and index > last
                last = index
                indices[entry], values[entry] = index, value
                if not exact:
                    open_numbers[n_open, 0], open_numbers[n_open, 1], open_numbers[n_open, 2] = entry, begin, at
                    n_open += 1
                entry += 1
            row += 1
            indptr[row] = entry
        while text[at] != _NEWLINE:
            at += 1
        at += 1
    return NO_FAULT, at, row, n_open, n_qids, ascends
