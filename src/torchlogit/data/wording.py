"""How messages show what was found: one line, short, in quotes."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence


def excerpt(value: object) -> str:
    """A value as a message shows it: text in quotes, on one line, and no more than 40 characters."""
    text = value if isinstance(value, str) else str(value)
    short = text if len(text) <= 40 else text[:37] + "..."
    return repr(short) if isinstance(value, str) else one_line(short)


def one_line(text: str) -> str:
    """The text with every run of white space made one blank."""
    return " ".join(text.split())


def examples(texts: Sequence[str], most: int = 3) -> str:
    """The first texts of several as a message shows them."""
    return ", ".join(map(excerpt, texts[:most])) + (", ..." if len(texts) > most else "")


def meant(name: str, columns: Sequence[str]) -> str:
    """Which of the names were likely meant, or what names there are."""
    close = difflib.get_close_matches(name, columns, n=3)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"the columns are {examples(columns, most=10)}"


def option(role: str, name: str) -> str:
    """How to name a column in an option, from Python or from the command line."""
    return f"{role}=[{name!r}] or --{role} {shlex.quote(name)}"


def settled(name: str) -> str:
    """The two ways out of a column of texts that are no categories."""
    keep = option("categorical", name)
    return f"leave the column out ({option('drop', name)}) or keep its texts as categories ({keep})"


def rows_are(count: int) -> str:
    """So many rows, and their verb."""
    return "1 row is" if count == 1 else f"{count} rows are"
