"""Expands a path, a glob or a folder to files in the order of their names, and names files in messages."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torchlogit.data.reading.formats import KNOWN, format_of
from torchlogit.errors import DataError

_GLOB_CHARACTERS = "*?["


def expanded(given: str | Path) -> list[Path]:
    """The given file, the files that match a glob, or a folder's files of known formats; DataError if there is none."""
    path = Path(given)
    if path.is_dir():
        return _in_folder(path)
    if any(character in str(given) for character in _GLOB_CHARACTERS) and not path.exists():
        found = sorted(Path(match) for match in glob.glob(str(given), recursive=True) if not Path(match).is_dir())
        if not found:
            raise DataError(f"no file matches {given}; check the path, and quote it so that the shell leaves it alone")
        return found
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    return [path]


def _in_folder(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None
    known = [path for path in found if format_of(path.name) is not None]
    if not known:
        raise DataError(f"{folder} is a folder without a file of a known kind; expected {KNOWN}")
    return known


def display_names(files: Sequence[Path]) -> tuple[str, ...]:
    """The names of the files for messages: the file's own name, or the whole path if two files have the same name."""
    times = Counter(path.name for path in files)
    return tuple(path.name if times[path.name] == 1 else str(path) for path in files)
