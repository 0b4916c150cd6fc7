"""svmlight files: a line per row, `LABEL INDEX:VALUE INDEX:VALUE ... # comment`, read by a compiled loop.

Indices may start at 0 or at 1, come in any order, and none twice in a row. `qid:` is read over. Values are finite
numbers, correctly rounded to float64. Lines that are empty or a comment are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias, cast
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.in_order import in_order
from torchlogit.data.reading.bytes import LONGEST_RECORD, DiskFile, Text, last_line_end, packed_by, records
from torchlogit.data.wording import excerpt
from torchlogit.errors import DataError, InputError, TorchlogitWarning

CHUNK_BYTES = 4 << 20
_AHEAD = 4
QID = "qid is read over: ranking by query is not what logistic regression does"

Values: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Real: TypeAlias = type[np.float32] | type[np.float64]
_Mark = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file: targets (rows,), and their entries as CSR, the indices as the file has them, ascending."""

    targets: NDArray[np.float64]
    indptr: _Mark
    indices: NDArray[np.int32]
    values: Values
    has_qid: bool


def load_svmlight(
    path: str | Path,
    *,
    n_features: int | None = None,
    zero_based: bool | Literal["auto"] = "auto",
    dtype: Real = np.float32,
) -> tuple[csr_array, NDArray[np.float64]]:
    """The rows of a svmlight file, (n, n_features) CSR, and their targets, (n,).

    The file may be compressed by gzip or zstd, whatever it is called. n_features: as many as the largest index says,
    unless given. zero_based: whether index 0 is the first feature; "auto": where it occurs. dtype: of the values,
    float32 or float64.

    Raises DataError, naming file, line and place, for what cannot be read; warns of `qid:`, which is read over.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "small.svm")
    >>> _ = path.write_text("+1 1:0.5 3:2 # a comment\\n-1 2:1e-3\\n")
    >>> X, y = load_svmlight(path)
    >>> X.toarray().tolist(), y.tolist()
    ([[0.5, 0.0, 2.0], [0.0, 0.0010000000474974513, 0.0]], [1.0, -1.0])
    >>> folder.cleanup()
    """
    if dtype not in (np.float32, np.float64):
        raise InputError(f"dtype={dtype!r}: expected numpy.float32 or numpy.float64")
    file = DiskFile(Path(path), Path(path).name)
    chunks = list(chunks_of(Text(file, packed_by(file)), dtype))
    if any(chunk.has_qid for chunk in chunks):
        warn(f"{file.display_name}: {QID}", TorchlogitWarning, stacklevel=2)
    targets = np.concatenate([chunk.targets for chunk in chunks])
    return _matrix(file.display_name, chunks, n_features, zero_based), targets


def chunks_of(text: Text, dtype: Real = np.float32) -> Iterator[Chunk]:
    """The rows of a file, some at a time; at least one, or DataError."""
    empty = True
    for chunk in in_order(partial(_parsed, dtype=dtype), _lines(text), ahead=_AHEAD, ready=text.input.ready):
        if len(chunk.targets):
            empty = False
            yield chunk
    if empty:
        raise DataError(f"{text.display_name} has no rows; give a file with lines such as '+1 3:0.5 7:1'")


def _matrix(display_name: str, chunks: list[Chunk], n_features: int | None, zero_based: bool | str) -> csr_array:
    values = np.concatenate([chunk.values for chunk in chunks])
    indices = np.concatenate([chunk.indices for chunk in chunks])
    entries = np.cumsum([0, *(len(chunk.values) for chunk in chunks)])
    indptr = np.concatenate([[0], *(chunk.indptr[1:] + start for chunk, start in zip(chunks, entries, strict=False))])
    low, high = (int(indices.min()), int(indices.max())) if len(indices) else (1, 0)
    if zero_based is False and low == 0:
        raise DataError(f"{display_name} holds index 0, where indices from 1 were expected (zero_based=False)")
    first = int(not (low == 0 if zero_based == "auto" else zero_based))
    found = high - first + 1
    if n_features is not None and found > n_features:
        raise DataError(
            f"{display_name} holds index {high}, and n_features={n_features} ends at {n_features - 1 + first}; "
            f"give more"
        )
    indices -= first
    if entries[-1] < 2**31:
        indptr = indptr.astype(np.int32)
    return csr_array((values, indices, indptr), shape=(len(indptr) - 1, found if n_features is None else n_features))


@cache
def _loops() -> ModuleType:
    from torchlogit.kernels import svmlight_loops

    return svmlight_loops


def _lines(source: Text) -> Iterator[_Lines]:
    """The file, some whole lines at a time, each with a line end."""
    line = 1
    for piece in records(source, last_line_end, CHUNK_BYTES):
        text = piece.text + b"\n" if piece.is_rest else piece.text
        if len(text) > LONGEST_RECORD and piece.is_rest:
            size = LONGEST_RECORD >> 20
            raise DataError(f"{source.display_name} line {line} is longer than {size} MiB; is it svmlight?")
        yield _Lines(np.frombuffer(text, np.uint8), source.display_name, line)
        line += text.count(b"\n")


def _parsed(lines: _Lines, dtype: Real) -> Chunk:
    text = lines.text
    most_rows = int(np.count_nonzero(text == ord("\n")))
    most_entries = int(np.count_nonzero(text == ord(":")))
    targets, starts = np.empty(most_rows), np.empty(most_rows, np.int64)
    indptr, indices = np.empty(most_rows + 1, np.int64), np.empty(most_entries, np.int32)
    values = cast(Values, np.empty(most_entries, dtype))
    open_numbers = np.empty((most_rows + most_entries, 3), np.int64)
    fault, at, rows, n_open, n_qids, ascends = _loops().parse(
        text, targets, starts, indptr, indices, values, open_numbers
    )
    if fault:
        raise lines.fault(fault, at)
    with np.errstate(over="ignore"):
        for place, start, end in open_numbers[:n_open].tolist():
            number = np.float64(text[start:end].tobytes())
            if place < 0:
                targets[-1 - place] = number
            else:
                values[place] = number
    entries = int(indptr[rows])
    chunk = Chunk(targets[:rows], indptr[: rows + 1], indices[:entries], values[:entries], n_qids > 0)
    _refuse_beyond(chunk, starts, lines)
    if not ascends:
        _sort(chunk, starts, lines)
    return chunk


def _refuse_beyond(chunk: Chunk, starts: _Mark, where: _Lines) -> None:
    """Numbers such as 1e400 are too large for the type they are read into."""
    if not np.isfinite(chunk.targets).all():
        row = int(np.argmin(np.isfinite(chunk.targets)))
        raise where.error(int(starts[row]), "has a label beyond the floats; expected a finite number: correct it")
    if not np.isfinite(chunk.values).all():
        entry = int(np.argmin(np.isfinite(chunk.values)))
        row = int(np.searchsorted(chunk.indptr, entry, side="right")) - 1
        name = chunk.values.dtype.name
        raise where.error(
            int(starts[row]), f"holds a value at index {chunk.indices[entry]} that is too large for {name}; correct it"
        )


def _sort(chunk: Chunk, starts: _Mark, where: _Lines) -> None:
    """Puts each row's indices in order, in place; refuses one that is there twice."""
    size = int(chunk.indices.max()) + 1
    matrix = csr_array((chunk.values, chunk.indices, chunk.indptr), shape=(len(chunk.targets), size), copy=False)
    matrix.sort_indices()
    chunk.indices[:], chunk.values[:] = matrix.indices, matrix.data
    same = np.flatnonzero(chunk.indices[1:] == chunk.indices[:-1])
    rows = np.searchsorted(chunk.indptr, same, side="right") - 1
    within = np.flatnonzero(same + 1 < chunk.indptr[rows + 1])
    if len(within):
        row, index = int(rows[within[0]]), int(chunk.indices[same[within[0]]])
        raise where.error(int(starts[row]), f"has index {index} twice; add the values up, or leave one out")


@dataclass(frozen=True, slots=True)
class _Lines:
    """Some lines of a file, and how its errors say where."""

    text: NDArray[np.uint8]
    display_name: str
    first_line: int

    def error(self, at: int, what: str) -> DataError:
        line = self.first_line + int(np.count_nonzero(self.text[:at] == ord("\n")))
        return DataError(f"{self.display_name} line {line} {what}")

    def fault(self, fault: int, at: int) -> DataError:
        loops = _loops()
        start = self.text[:at].tobytes().rfind(b"\n") + 1
        word = _word(self.text, at)
        what = {
            loops.BAD_LABEL: "expected the label, a number",
            loops.SEVERAL_LABELS: "expected one label, and found several; leave one, or train one model for each",
            loops.NO_LABEL: "expected the label first, and found an index and a value; put a label before them",
            loops.BAD_INDEX: "expected an index, a whole number from 0, and a value, such as 7:0.5",
            loops.LARGE_INDEX: f"expected an index of at most {2**31 - 1}; number the features anew",
            loops.BAD_VALUE: "expected a finite number as the value",
        }[fault]
        return self.error(at, f"place {at - start + 1} holds {excerpt(word)}: {what}")


def _word(text: NDArray[np.uint8], at: int) -> str:
    piece = text[at : at + 80].tobytes()
    return (piece.split(None, 1) or [b""])[0].decode("utf-8", "replace")
