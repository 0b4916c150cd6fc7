"""Where the records of CSV text end: line ends inside quoted fields do not count.

A quote opens a field only as its first character, as pyarrow and Python's csv read it, and two quotes in a quoted field
stand for one. So where every second quote follows a delimiter, a line end or a quote, every second quote opens a field
or goes on with it, which numpy tells in one look; only text with stray quotes takes a loop over them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_QUOTE = ord('"')


def last_record_end(text: bytes, delimiter: str) -> int:
    r"""Where the last whole record ends in text that starts with a record; 0 where none does.

    >>> last_record_end(b'a,b\n1,"2\n3', ",")
    4
    """
    line_end = b"\n" if b"\n" in text else b"\r"
    end = text.rfind(line_end)
    if b'"' not in text:
        return end + 1
    marks = _marks(text, delimiter)
    while end >= 0:
        before = int(np.searchsorted(marks, end))
        if before % 2 == 0:
            return end + 1
        end = text.rfind(line_end, 0, int(marks[before - 1]))
    return 0


def ends_quoted(text: bytes, delimiter: str) -> bool:
    """Whether text that starts with a record ends within a quoted field."""
    return b'"' in text and len(_marks(text, delimiter)) % 2 == 1


def _marks(text: bytes, delimiter: str) -> NDArray[np.int64]:
    """Places of quotes, of which each first one opens a quoted field or goes on with it, each second one closes it."""
    view = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(view == _QUOTE)
    opening = quotes[::2]
    before = view[opening - 1]
    starts = opening == 0
    for byte in (ord(delimiter), *b'\r\n"'):
        starts |= before == byte
    return quotes if starts.all() else _marks_one_by_one(text, quotes, delimiter)


def _marks_one_by_one(text: bytes, quotes: NDArray[np.int64], delimiter: str) -> NDArray[np.int64]:
    starts = (delimiter + "\r\n").encode()
    places: list[int] = quotes.tolist()
    marks: list[int] = []
    quoted, at = False, 0
    while at < len(places):
        place = places[at]
        if not quoted:
            quoted = place == 0 or text[place - 1] in starts
        elif at + 1 < len(places) and places[at + 1] == place + 1:
            at += 2
            continue
        else:
            quoted = False
        if quoted or len(marks) % 2:
            marks.append(place)
        at += 1
    return np.array(marks, np.int64)
