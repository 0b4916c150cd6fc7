"""How messages show values, names and options: short, on one line, in quotes."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

MAX_EXCERPT = 40  # characters of a value that a message shows; longer values are cut


def excerpt(value: object) -> str:
    """A value as messages show it: text in quotes; at most MAX_EXCERPT characters, without line ends."""
    text = value if isinstance(value, str) else str(value)
    short = text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 3] + "..."
    return repr(short) if isinstance(value, str) else one_line(short)


def one_line(text: str) -> str:
    """The text with each run of white space replaced by one space."""
    return " ".join(text.split())


def examples(texts: Sequence[str], limit: int = 3) -> str:
    """The first `limit` texts, in quotes, and an ellipsis if there are more."""
    return ", ".join(map(excerpt, texts[:limit])) + (", ..." if len(texts) > limit else "")


def suggestion(name: str, columns: Sequence[str]) -> str:
    """Advice for an unknown column name: the columns with similar names, else the first ten columns."""
    close = difflib.get_close_matches(name, columns, n=3)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"the columns are {examples(columns, limit=10)}"


def option(role: str, name: str) -> str:
    """How to give a column a role in Python and on the command line.

    >>> option("drop", "id")
    "drop=['id'] or --drop id"
    """
    return f"{role}=[{name!r}] or --{role} {shlex.quote(name)}"


def drop_or_keep(name: str) -> str:
    """The advice for a column of text that is refused: drop it, or keep it as categorical."""
    keep = option("categorical", name)
    return f"leave the column out ({option('drop', name)}) or keep its texts as categories ({keep})"
