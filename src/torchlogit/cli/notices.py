"""What encoding some rows had to say, said once for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

COUNTED = re.compile(r"^(column .+?: )(\d+) rows? (is|are|holds?) (.*)$")
EXAMPLES = re.compile(r"\(.*\)")


def merged(notices: Iterable[str]) -> list[str]:
    """One notice of each kind and column, in order of appearance, its rows counted over all of them.

    >>> merged(["column 'a': 1 row is missing, taken as 2", "column 'a': 3 rows are missing, taken as 2"])
    ["column 'a': 4 rows are missing, taken as 2"]
    """
    first, counts = dict[str, str](), dict[str, int]()
    for notice in notices:
        found = COUNTED.match(notice)
        kind = EXAMPLES.sub("", found[1] + found[4]) if found else notice
        first.setdefault(kind, notice)
        counts[kind] = counts.get(kind, 0) + (int(found[2]) if found else 0)
    return [_of(notice, counts[kind]) for kind, notice in first.items()]


def _of(notice: str, count: int) -> str:
    """The notice, about so many rows."""
    found = COUNTED.match(notice)
    if found is None or int(found[2]) == count:
        return notice
    return f"{found[1]}{count} rows {'hold' if found[3].startswith('hold') else 'are'} {found[4]}"
