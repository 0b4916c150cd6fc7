"""Converts X and y of any supported kind to arrays; `ADAPTERS` lists one function per kind.

No library is imported that the caller has not imported: data frames are recognised by the Arrow protocol, data sets by
the module of their class. Arrays, lists and scipy matrices, which scikit-learn validates itself, are passed on
unchanged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from torchlogit.data.block import Location
from torchlogit.data.columns import as_numbers, is_number
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.schema import Schema
from torchlogit.data.encoding.vectors import VectorColumn, VectorLearner
from torchlogit.data.loading import load_table, without_target
from torchlogit.data.reading.source import open_source
from torchlogit.data.reading.tables import table_from
from torchlogit.data.sparse_vectors import is_vector_type
from torchlogit.data.wording import examples, suggestion
from torchlogit.design import as_csr
from torchlogit.errors import DataError
from torchlogit.estimator.datasets import all_rows, is_dataset, pair

NO_TARGET: Any = object()  # as y: there is no target, and X is not searched for one
CHECKS: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """X, and y if there is one, in a form that scikit-learn's validation accepts.

    names: the columns' names, if X no longer holds them. tensor: the original X if it was a tensor; predictions get its
    device and type.
    """

    X: Any
    y: Any = None
    names: tuple[str, ...] | None = None
    tensor: torch.Tensor | None = None

    def in_form_of_X(self, values: NDArray[Any]) -> Any:
        """Predictions as an array; if X was a tensor, as a tensor on its device, with floats of its type."""
        if self.tensor is None or values.dtype.kind not in "iufb":
            return values
        kind = self.tensor.dtype if values.dtype.kind == "f" and self.tensor.is_floating_point() else None
        return torch.from_numpy(values).to(device=self.tensor.device, dtype=kind)


def read(X: Any, y: Any = None, columns: Sequence[str] = ()) -> Inputs:
    """X and y in a form that `validated` accepts.

    y: the target; the name of the column of X that holds it; None if X contains its target, as a data set does; or
    NO_TARGET. columns: the names of the columns of the fit; these are selected from files and data sets, which may have
    other columns, too.
    """
    if type(X) is np.ndarray:
        return Inputs(X, as_array(y))
    for fits, adapter in ADAPTERS:
        if fits(X):
            return adapter(X, y, columns)
    return Inputs(X, as_array(y))


def as_array(values: Any) -> Any:
    """The values of a tensor or an Arrow array as a numpy array; anything else unchanged."""
    if isinstance(values, torch.Tensor):
        plain = values.detach().cpu()
        return (plain.squeeze(1) if plain.ndim == 2 and plain.shape[1] == 1 else plain).numpy()
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
    return values


def validated(estimator: Any, inputs: Inputs, *, reset: bool) -> Any:
    """X in C order or CSR form, checked by scikit-learn. Unless `reset`, its columns must be those of the fit."""
    if isinstance(inputs.X, torch.Tensor):
        return _validated_tensor(estimator, inputs.X, reset)
    if inputs.names is None:
        return validate_data(estimator, inputs.X, **CHECKS, reset=reset)
    features = check_array(inputs.X, **CHECKS, estimator=estimator, input_name="X")
    if reset:
        estimator.n_features_in_, estimator.feature_names_in_ = len(inputs.names), np.array(inputs.names, dtype=object)
    _refuse_other_columns(estimator, inputs.names)
    return features


def validated_pair(estimator: Any, inputs: Inputs, *, reset: bool = True) -> tuple[Any, NDArray[Any]]:
    """X, (n, n_features), and the labels y, (n,), checked by scikit-learn."""
    if inputs.names is None and not isinstance(inputs.X, torch.Tensor):
        features, labels = validate_data(estimator, inputs.X, inputs.y, **CHECKS, reset=reset)
        return features, labels
    if inputs.y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    features, labels = validated(estimator, inputs, reset=reset), column_or_1d(inputs.y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_consistent_length(features, labels)
    return features, labels


def _refuse_other_columns(estimator: Any, names: tuple[str, ...]) -> None:
    known = getattr(estimator, "feature_names_in_", None)
    expected = estimator.n_features_in_ if known is None else tuple(known)
    if (len(names) if known is None else names) != expected:
        columns = f"{expected} columns" if known is None else f"those of the fit, in their order: {examples(expected)}"
        raise DataError(f"X has the columns {examples(names)}; expected {columns}")


def _validated_tensor(estimator: Any, X: torch.Tensor, reset: bool) -> torch.Tensor:
    """A tensor on another device, which stays there; the design checks that its numbers are finite."""
    if X.ndim != 2 or X.shape[1] == 0:
        raise DataError(f"X has shape {tuple(X.shape)}: expected 2 dimensions, rows and features; reshape it")
    if reset:
        estimator.n_features_in_ = X.shape[1]
        estimator.__dict__.pop("feature_names_in_", None)
    elif X.shape[1] != estimator.n_features_in_:
        raise DataError(f"X has {X.shape[1]} features; expected {estimator.n_features_in_}, those of the fit")
    return X if X.dtype in (torch.float32, torch.float64) else X.to(torch.float64)


# Tensors and data sets of torch.


def _of_tensor(X: torch.Tensor, y: Any, columns: Sequence[str]) -> Inputs:
    if X.layout != torch.strided:
        return Inputs(as_csr(X), as_array(y), tensor=X)
    plain = X.detach()
    if plain.dtype in (torch.float16, torch.bfloat16):
        plain = plain.to(torch.float32)
    return Inputs(plain.numpy() if plain.device.type == "cpu" else plain, as_array(y), tensor=X)


def _of_dataset(X: Any, y: Any, columns: Sequence[str]) -> Inputs:
    rows = all_rows(X)
    features, target = pair(rows) if y is None else (rows[0], y)
    return _of_tensor(features, target, columns)


# Tables: Arrow and what exports it, pandas, data sets of Hugging Face, files.


def _of_pandas(X: Any, y: Any, columns: Sequence[str]) -> Inputs:
    """A pandas frame, without the target column if y names it; scikit-learn converts the other columns."""
    if isinstance(y, str):
        _refuse_no_column(y, [str(name) for name in X.columns])
        X, y = X.drop(columns=[y]), X[y]
    for name, dtype in X.dtypes.items():
        if dtype.kind not in "biuf" and not (str(dtype) == "object" and _can_be_numbers(X[name])):
            raise _no_numbers(str(name), str(dtype))
    return Inputs(X, as_array(y))


def _can_be_numbers(column: Any) -> bool:
    try:
        np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _of_arrow(X: Any, y: Any, columns: Sequence[str]) -> Inputs:
    return _of_table(table_from(X), y, ())


def _of_hugging_face(X: Any, y: Any, columns: Sequence[str]) -> Inputs:
    return _of_table(table_from(X.with_format("arrow")[:]), y, columns)


def _of_path(X: Any, y: Any, columns: Sequence[str]) -> Inputs:
    if y is None or isinstance(y, str):
        return _of_table(*load_table(X, y), columns, written=True)
    return _of_table(open_source([X]).read().table, y, columns, written=True)


def _of_table(table: pa.Table, y: Any, columns: Sequence[str], *, written: bool = False) -> Inputs:
    """The features of a table, and the target if y names its column. written: numbers may be text, as in CSV files."""
    target = as_array(y)
    if isinstance(y, str):
        table, target = without_target(table, y)
    vectors = [field.name for field in table.schema if is_vector_type(field.type)]
    if vectors:
        return _of_vectors(table, vectors[0], target, columns)
    if columns:
        for name in columns:
            _refuse_no_column(name, table.column_names)
        table = table.select(list(columns))
    if not table.num_columns:
        raise DataError("no column is left to learn from; give a table with a column besides the target")
    parts = [_numbers(name, table.column(name), written) for name in table.column_names]
    names = [name for names, _ in parts for name in names]
    return Inputs(np.concatenate([values for _, values in parts], axis=1), target, tuple(names))


def _numbers(name: str, column: pa.ChunkedArray, written: bool) -> tuple[list[str], NDArray[Any]]:
    """The feature names and values of a column: (n, 1), or (n, length) for a column of lists of equal length."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _listed_numbers(name, column)
    values = as_numbers(column) if written or is_number(kind) else None
    if values is None:
        raise _no_numbers(name, "text" if written else str(kind))
    return [name], values.astype(np.float32 if pa.types.is_float32(kind) else np.float64, copy=False)[:, None]


def _listed_numbers(name: str, column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    lists = column.combine_chunks()
    flat = lists.flatten()
    length = len(flat) // max(1, len(lists))
    if not is_number(flat.type) or lists.null_count or set(lists.value_lengths().to_pylist()) - {length}:
        raise _no_numbers(name, f"{column.type}, not all equally long" if is_number(flat.type) else str(column.type))
    _, values = _numbers(name, pa.chunked_array([flat]), False)
    return [f"{name}{i}" for i in range(length)], values.reshape(len(lists), length)


def _of_vectors(table: pa.Table, name: str, target: Any, columns: Sequence[str]) -> Inputs:
    """The features in a column of sparse vectors; after a fit, `columns` gives their first index and their number."""
    if not columns:
        learner = VectorLearner(name)
        learner.update(table.column(name), lambda row: Location(None, row))
        column = learner.result().column
        if not isinstance(column, VectorColumn):
            raise DataError(f"column {name!r} holds no value at all; give rows with values")
    else:
        column = VectorColumn(name, int(columns[0].removeprefix(name)), len(columns), 1.0)
    encoded = Encoder(Schema((column,))).encode(table.select([name]))
    values = encoded.values if scipy.sparse.issparse(encoded.values) else np.ascontiguousarray(encoded.values)
    return Inputs(values, target, tuple(column.feature_names))


def _refuse_no_column(name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        raise DataError(f"there is no column {name!r}; {suggestion(name, columns)}")


def _no_numbers(name: str, kind: str) -> DataError:
    return DataError(
        f"column {name!r} holds {kind}: LogisticRegression takes tables of numbers and booleans; put TableEncoder() in "
        f"front of it, or leave the column out",
        column=name,
    )


def _from(package: str, name: str) -> Callable[[Any], bool]:
    """A test for instances of a class, given by its package and name; the test does not import the package."""

    def fits(X: Any) -> bool:
        kind = getattr(sys.modules.get(package), name, None)
        return kind is not None and isinstance(X, kind)

    return fits


Adapter = Callable[[Any, Any, Sequence[str]], Inputs]

ADAPTERS: tuple[tuple[Callable[[Any], bool], Adapter], ...] = (
    (lambda X: isinstance(X, torch.Tensor), _of_tensor),
    (_from("pandas", "DataFrame"), _of_pandas),
    (lambda X: isinstance(X, str | os.PathLike), _of_path),
    (lambda X: hasattr(X, "with_format") and hasattr(X, "column_names"), _of_hugging_face),
    (lambda X: hasattr(X, "__arrow_c_stream__"), _of_arrow),
    (is_dataset, _of_dataset),
)
