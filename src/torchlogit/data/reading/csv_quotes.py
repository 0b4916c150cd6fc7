"""Finds where records end in CSV text. A line end inside a quoted field does not end a record.

As in pyarrow and Python's csv module, a quote opens a quoted field only if it is the field's first character; within a
quoted field, two quotes stand for one. If every other quote (the first, the third, ...) follows a delimiter, a line end
or another quote, then quotes alternate between opening and closing: a line end is inside a quoted field if the number
of quotes before it is odd. numpy checks this for all quotes at once. Text with stray quotes (quotes inside unquoted
fields) is scanned one quote at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_QUOTE = ord('"')


def last_record_end(text: bytes, delimiter: str) -> int:
    r"""The index after the last complete record of a text that starts with a record; 0 if no record is complete.

    >>> last_record_end(b'a,b\n1,"2\n3', ",")
    4
    """
    line_end = b"\n" if b"\n" in text else b"\r"
    end = text.rfind(line_end)
    if b'"' not in text:
        return end + 1
    quotes = _alternating_quotes(text, delimiter)
    while end >= 0:
        n_before = int(np.searchsorted(quotes, end))
        if n_before % 2 == 0:
            return end + 1
        end = text.rfind(line_end, 0, int(quotes[n_before - 1]))
    return 0


def ends_in_quotes(text: bytes, delimiter: str) -> bool:
    """Whether text that starts with a record ends inside a quoted field."""
    return b'"' in text and len(_alternating_quotes(text, delimiter)) % 2 == 1


def _alternating_quotes(text: bytes, delimiter: str) -> NDArray[np.int64]:
    """Positions of quotes that alternate: text between the first and the second is quoted, and so on.

    A doubled quote within a quoted field may be included, since it closes the field and opens it again. Stray quotes
    are left out.
    """
    view = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(view == _QUOTE)
    opening = quotes[::2]
    before = view[opening - 1]
    may_open = opening == 0
    for byte in (ord(delimiter), *b'\r\n"'):
        may_open |= before == byte
    return quotes if may_open.all() else _scanned_quotes(text, quotes, delimiter)


def _scanned_quotes(text: bytes, quotes: NDArray[np.int64], delimiter: str) -> NDArray[np.int64]:
    """The same for text with stray quotes, which neither open nor close a field."""
    before_field = (delimiter + "\r\n").encode()
    positions: list[int] = quotes.tolist()
    found: list[int] = []
    quoted, i = False, 0
    while i < len(positions):
        position = positions[i]
        if not quoted:
            quoted = position == 0 or text[position - 1] in before_field
        elif i + 1 < len(positions) and positions[i + 1] == position + 1:
            i += 2
            continue
        else:
            quoted = False
        if quoted or len(found) % 2:
            found.append(position)
        i += 1
    return np.array(found, np.int64)
