"""Columns of sparse vectors, which Arrow stores as lists of (index, value), converted to and from CSR arrays.

The features of a svmlight file are one such column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_INDEX, _VALUE = "index", "value"

VECTOR_TYPE = pa.list_(pa.struct([(_INDEX, pa.int32()), (_VALUE, pa.float32())]))
"""The Arrow type of the vectors that are read from a svmlight file."""


def is_vector_type(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds sparse vectors, with integers and floats of any width."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    fields = [kind.value_type.field(i) for i in range(kind.value_type.num_fields)]
    if [field.name for field in fields] != [_INDEX, _VALUE]:
        return False
    return bool(pa.types.is_integer(fields[0].type) and pa.types.is_floating(fields[1].type))


def as_vectors(indptr: NDArray[Any], indices: NDArray[Any], values: NDArray[Any]) -> pa.ListArray:
    """A column of sparse vectors from the three arrays of a CSR matrix; indices and values are not copied.

    >>> as_vectors(np.array([0, 1, 1]), np.array([7]), np.array([0.5])).to_pylist()
    [[{'index': 7, 'value': 0.5}], []]
    """
    entries = pa.StructArray.from_arrays([pa.array(indices), pa.array(values)], names=[_INDEX, _VALUE])
    return pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), entries)


def csr_arrays(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
    """The column's indptr, indices and values as a CSR matrix has them.

    Indices are not copied if the column has one chunk; nor are values, if they are also float32.
    """
    indptr, indices, values, end = [np.zeros(1, np.int64)], [], [], 0
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy().astype(np.int64)
        entries = chunk.values.slice(offsets[0], offsets[-1] - offsets[0])
        indices.append(entries.field(0).to_numpy(zero_copy_only=False))
        values.append(entries.field(1).to_numpy(zero_copy_only=False).astype(np.float32, copy=False))
        indptr.append(offsets[1:] - offsets[0] + end)
        end += offsets[-1] - offsets[0]
    return np.concatenate(indptr), _joined(indices, np.int32), _joined(values, np.float32)


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
