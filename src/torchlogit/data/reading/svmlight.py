"""svmlight files: one line per row, `LABEL INDEX:VALUE INDEX:VALUE ... # comment`, parsed by a compiled loop.

Indices may start at 0 or at 1 and may come in any order; no index may occur twice in a row. `qid:` is ignored. Values
are finite numbers, correctly rounded to float64. Empty lines and lines that hold only a comment are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, cast
from warnings import warn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.concurrency import map_in_threads
from torchlogit.data.reading.bytes import (
    MAX_RECORD_BYTES,
    DiskFile,
    Input,
    Text,
    compression_of,
    last_line_end,
    records,
)
from torchlogit.data.reading.reader import Naming
from torchlogit.data.sparse_vectors import VECTOR_TYPE, as_vectors
from torchlogit.data.wording import excerpt
from torchlogit.errors import DataError, InputError, TorchlogitWarning

LABEL, VECTORS = "label", "f"  # names of the columns of a svmlight file
QID_WARNING = "qid is ignored: logistic regression does not rank the rows of a query"

# Bytes of text that a thread parses at a time. Larger parts take more memory, smaller ones more calls.
READ_BYTES = 4 << 20
_MAX_PENDING = 4  # parsed parts that may wait to be used; more keep more threads busy and take more memory

Values: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Real: TypeAlias = type[np.float32] | type[np.float64]


# As arrays


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a file: targets (rows,), and features in CSR form, with the file's indices, ascending in each row."""

    targets: NDArray[np.float64]
    indptr: NDArray[np.int64]
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
    """Load a svmlight file as a sparse matrix and a vector of targets.

    Parameters
    ----------
    path
        The file. It may be compressed by gzip or zstd, whatever its name.
    n_features
        The number of columns of the matrix; by default, the number that the largest index requires.
    zero_based
        Whether indices start at 0 (True) or at 1 (False). "auto": at 0 if index 0 occurs in the file, else at 1.
    dtype
        Type of the values, numpy.float32 or numpy.float64.

    Returns
    -------
    X : scipy.sparse.csr_array of shape (n, n_features)
    y : ndarray of shape (n,), float64

    Raises
    ------
    DataError
        If the file cannot be read. The message names the file, the line and the place in it.

    Warns
    -----
    TorchlogitWarning
        If the file holds `qid:`, which is ignored.

    Examples
    --------
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
    parts = list(_parse_parts(Text(file, compression_of(file)), dtype))
    if any(part.has_qid for part in parts):
        warn(f"{file.display_name}: {QID_WARNING}", TorchlogitWarning, stacklevel=2)
    targets = np.concatenate([part.targets for part in parts])
    return _matrix(file.display_name, parts, n_features, zero_based), targets


def _matrix(name: str, parts: list[_Rows], n_features: int | None, zero_based: bool | str) -> csr_array:
    values = np.concatenate([part.values for part in parts])
    indices = np.concatenate([part.indices for part in parts])
    starts = np.cumsum([0, *(len(part.values) for part in parts)])
    indptr = np.concatenate([[0], *(part.indptr[1:] + start for part, start in zip(parts, starts, strict=False))])
    low, high = (int(indices.min()), int(indices.max())) if len(indices) else (1, 0)
    if zero_based is False and low == 0:
        raise DataError(f"{name} holds index 0, where indices from 1 were expected (zero_based=False)")
    first = int(not (low == 0 if zero_based == "auto" else zero_based))
    required = high - first + 1
    if n_features is not None and required > n_features:
        raise DataError(
            f"{name} holds index {high}, and n_features={n_features} ends at {n_features - 1 + first}; "
            f"give a larger n_features"
        )
    indices -= first
    if starts[-1] < 2**31:
        indptr = indptr.astype(np.int32)
    return csr_array((values, indices, indptr), shape=(len(indptr) - 1, required if n_features is None else n_features))


# As a table


def open_svmlight(source: Input, compression: str | None, naming: Naming) -> SvmlightReader:
    """A reader of the file, whose columns are always `label` and `f`."""
    if naming.names is not None:
        raise DataError(f"{source.display_name}: the features of svmlight files have numbers; leave the names out")
    return SvmlightReader(Text(source, compression))


@dataclass(frozen=True, slots=True)
class SvmlightReader:
    """Reads a svmlight file as a column of labels and a column of sparse vectors; `found` collects warnings."""

    text: Text
    found: list[str] = field(default_factory=list)
    target: str = LABEL

    @property
    def schema(self) -> pa.Schema:
        # Labels are floats, as a later row may have one that is not whole. As class labels, 1.0 and 1 are the same.
        return pa.schema([(LABEL, pa.float64()), (VECTORS, VECTOR_TYPE)])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.found)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for part in _parse_parts(self.text, np.float32):
            if part.has_qid and QID_WARNING not in self.found:
                self.found.append(QID_WARNING)
            vectors = as_vectors(part.indptr, part.indices, part.values)
            yield pa.table([pa.array(part.targets), vectors], schema=self.schema).select(columns)


# Parsing


def _parse_parts(text: Text, dtype: Real) -> Iterator[_Rows]:
    """The rows of the file, READ_BYTES of text at a time; DataError if it has none."""
    empty = True
    parse = partial(_parse, dtype=dtype)
    for part in map_in_threads(parse, _lines(text), max_pending=_MAX_PENDING, ready=text.input.ready):
        if len(part.targets):
            empty = False
            yield part
    if empty:
        raise DataError(f"{text.display_name} has no rows; give a file with lines such as '+1 3:0.5 7:1'")


@dataclass(frozen=True, slots=True)
class _Lines:
    """Complete lines of a file, each with its line end. first_line: the number of the first line, counted from 1."""

    text: NDArray[np.uint8]
    display_name: str
    first_line: int

    def error(self, at: int, what: str) -> DataError:
        """The error about the line that holds byte `at` of the text."""
        line = self.first_line + int(np.count_nonzero(self.text[:at] == ord("\n")))
        return DataError(f"{self.display_name} line {line} {what}")

    def fault(self, fault: int, at: int) -> DataError:
        """The error for a fault code that the compiled loop returned for byte `at` of the text."""
        from torchlogit.kernels import svmlight_loops as loops

        start = self.text[:at].tobytes().rfind(b"\n") + 1
        word = _word(self.text, at)
        what = {
            loops.BAD_LABEL: "expected the label, a number",
            loops.SEVERAL_LABELS: "expected one label, and found several; leave one, or train one model for each",
            loops.NO_LABEL: "expected the label first, and found an index and a value; put a label before them",
            loops.BAD_INDEX: "expected an index, a whole number from 0, and a value, such as 7:0.5",
            loops.LARGE_INDEX: f"expected an index of at most {2**31 - 1}; renumber the features",
            loops.BAD_VALUE: "expected a finite number as the value",
        }[fault]
        return self.error(at, f"place {at - start + 1} holds {excerpt(word)}: {what}")


def _word(text: NDArray[np.uint8], at: int) -> str:
    start = text[at : at + 80].tobytes()
    return (start.split(None, 1) or [b""])[0].decode("utf-8", "replace")


def _lines(source: Text) -> Iterator[_Lines]:
    line = 1
    for part in records(source, last_line_end, READ_BYTES):
        text = part.text + b"\n" if part.incomplete else part.text
        if len(text) > MAX_RECORD_BYTES and part.incomplete:
            size = MAX_RECORD_BYTES >> 20
            raise DataError(f"{source.display_name} line {line} is longer than {size} MiB; is it svmlight?")
        yield _Lines(np.frombuffer(text, np.uint8), source.display_name, line)
        line += text.count(b"\n")


def _parse(lines: _Lines, dtype: Real) -> _Rows:
    from torchlogit.kernels import svmlight_loops

    text = lines.text
    max_rows = int(np.count_nonzero(text == ord("\n")))
    max_entries = int(np.count_nonzero(text == ord(":")))
    targets, starts = np.empty(max_rows), np.empty(max_rows, np.int64)
    indptr, indices = np.empty(max_rows + 1, np.int64), np.empty(max_entries, np.int32)
    values = cast(Values, np.empty(max_entries, dtype))
    inexact = np.empty((max_rows + max_entries, 3), np.int64)
    out = targets, starts, indptr, indices, values, inexact
    fault, at, rows, n_inexact, n_qids, ascends = svmlight_loops.parse(text, *out)
    if fault:
        raise lines.fault(fault, at)
    with np.errstate(over="ignore"):  # numbers too large are refused below
        for place, start, end in inexact[:n_inexact].tolist():
            number = np.float64(text[start:end].tobytes())
            if place < 0:
                targets[-1 - place] = number
            else:
                values[place] = number
    entries = int(indptr[rows])
    parsed = _Rows(targets[:rows], indptr[: rows + 1], indices[:entries], values[:entries], n_qids > 0)
    _refuse_not_finite(parsed, starts, lines)
    if not ascends:
        _sort(parsed, starts, lines)
    return parsed


def _refuse_not_finite(rows: _Rows, starts: NDArray[np.int64], lines: _Lines) -> None:
    """DataError for numbers such as 1e400, which are too large for their type. starts: where each row's line starts."""
    if not np.isfinite(rows.targets).all():
        row = int(np.argmin(np.isfinite(rows.targets)))
        raise lines.error(int(starts[row]), "has a label beyond float64; expected a finite number: correct it")
    if not np.isfinite(rows.values).all():
        entry = int(np.argmin(np.isfinite(rows.values)))
        row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
        name = rows.values.dtype.name
        raise lines.error(
            int(starts[row]), f"holds a value at index {rows.indices[entry]} that is too large for {name}; correct it"
        )


def _sort(rows: _Rows, starts: NDArray[np.int64], lines: _Lines) -> None:
    """Sort the indices of each row in place; DataError for an index that occurs twice in a row."""
    size = int(rows.indices.max()) + 1
    matrix = csr_array((rows.values, rows.indices, rows.indptr), shape=(len(rows.targets), size), copy=False)
    matrix.sort_indices()
    rows.indices[:], rows.values[:] = matrix.indices, matrix.data
    same = np.flatnonzero(rows.indices[1:] == rows.indices[:-1])
    row_of = np.searchsorted(rows.indptr, same, side="right") - 1
    repeated = np.flatnonzero(same + 1 < rows.indptr[row_of + 1])
    if len(repeated):
        row, index = int(row_of[repeated[0]]), int(rows.indices[same[repeated[0]]])
        raise lines.error(int(starts[row]), f"has index {index} twice; add the values up, or leave one out")
