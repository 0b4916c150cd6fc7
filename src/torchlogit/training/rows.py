"""Labelled rows: the features, targets, weights and offsets that a model is fitted to or measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray

from torchlogit.data.encoded_rows import EncodedRows
from torchlogit.data.labels import Label
from torchlogit.data.targets import ClassWeight, Targets
from torchlogit.errors import InputError
from torchlogit.storage import IN_MEMORY, Storage

Array = NDArray[np.float64]
Features = Any
"""(n, n_features): an array, a csr_array with sorted column indices, a tensor on another device, or RereadFeatures."""

ROWS_AT_A_TIME = 1 << 16  # rows of one-hot targets computed at a time; more rows need a larger temporary array
# About this many rows, evenly spaced, enter a fingerprint; a fingerprint of all of X can take longer than the fit.
HASHED_ROWS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Rows with their targets.

    weight (n,): the weights of the rows' losses. counts (n,): the same before class weights are multiplied in; a row of
    count 3 stands for three observations. offset: a constant added to every row's raw prediction, (n,) for two classes,
    (n, n_classes) for more.
    """

    features: Features
    targets: Targets
    weight: Array
    counts: Array
    offset: ArrayLike | None = None

    @classmethod
    def of(cls, features: Features, targets: Targets, weight: Array, offset: ArrayLike | None = None) -> LabelledRows:
        """Rows without class weights."""
        return cls(features, targets, weight, weight, offset)

    @classmethod
    def of_table(cls, rows: EncodedRows, classes: Sequence[Label]) -> LabelledRows:
        """The encoded rows of a table; their codes are indices into `classes`."""
        weight: Array = np.broadcast_to(1.0, len(rows)) if rows.weight is None else rows.weight
        return cls.of(rows.features, Targets(np.array(classes, dtype=object), rows.codes, None), weight)

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def classes(self) -> NDArray[Any]:
        """The labels of the classes, (n_classes,)."""
        return self.targets.classes

    @property
    def n_features(self) -> int:
        """The number of columns of the features."""
        n_features: int = self.features.shape[1]
        return n_features

    def class_weighted(self, class_weight: ClassWeight) -> LabelledRows:
        """The rows with class weights multiplied in; InputError if the total weight of a class is 0."""
        targets, weight = self.targets.class_weighted(self.counts, class_weight)
        _refuse_classes_without_weight(targets, weight)
        return replace(self, targets=targets, weight=weight)

    def target(self, n_outputs: int, storage: Storage = IN_MEMORY) -> Array:
        """The target probabilities, (n, n_outputs)."""
        if self.targets.codes is not None:
            return one_hot(self.targets.codes, n_outputs, storage)
        assert self.targets.share is not None
        return self.targets.share[:, 1:] if n_outputs == 1 else self.targets.share

    def offsets(self, n_outputs: int) -> Array | None:
        """The offset as an array (n, n_outputs), or None if there is none; InputError for a wrong shape."""
        if self.offset is None:
            return None
        n, values = len(self), np.asarray(self.offset, dtype=np.float64)
        if values.shape != ((n,) if n_outputs == 1 else (n, n_outputs)):
            expected = f"({n},)" if n_outputs == 1 else f"({n}, {n_outputs})"
            raise InputError(f"offset has shape {values.shape}: expected {expected}, a number for each row and output")
        return np.ascontiguousarray(values.reshape(n, n_outputs))

    def summary(self) -> dict[str, Any]:
        """The number of rows, their weight, and a fingerprint: SHA-256 of the shape and of about 10,000 rows."""
        n = self.features.shape[0]
        some = slice(None, None, max(1, n // HASHED_ROWS))
        features = self.features[some]
        digest = hashlib.sha256(str(self.features.shape).encode())
        if isinstance(features, torch.Tensor):
            features = features.cpu().numpy()
        arrays = (features.indptr, features.indices, features.data) if scipy.sparse.issparse(features) else (features,)
        others = (self.targets.codes, self.targets.share, self.weight)
        for array in (*arrays, *(other[some] for other in others if other is not None)):
            digest.update(np.ascontiguousarray(array).data)
        return {"rows": n, "weight": float(self.weight.sum()), "fingerprint": digest.hexdigest()}


def one_hot(codes: NDArray[np.integer[Any]], n_outputs: int, storage: Storage = IN_MEMORY) -> Array:
    """Targets (n, n_outputs) of 0 and 1 for class codes (n,); with one output (two classes), 1 is the second class."""
    target: Array = storage.empty((len(codes), n_outputs), np.float64)
    for start in range(0, len(codes), ROWS_AT_A_TIME):
        some = codes[start : start + ROWS_AT_A_TIME]
        target[start : start + ROWS_AT_A_TIME] = some[:, None] == (np.arange(n_outputs) if n_outputs > 1 else 1)
    return target


def plain_label(label: Any) -> Label:
    """A class's label as a Python value; InputError for one that a model file cannot hold."""
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, str | int | float | bool):
        kind = type(value).__name__
        raise InputError(f"class {value!r} is of type {kind}: a model file holds text, numbers and booleans as classes")
    return value


def _refuse_classes_without_weight(targets: Targets, weight: Array) -> None:
    """InputError for a class without weight, which would have no finite intercept."""
    by_class = targets.by_class(weight)
    if np.count_nonzero(by_class) < 2:
        raise InputError("y has one class only among the rows of positive sample_weight: expected at least two classes")
    if not by_class.all():
        empty = plain_label(targets.classes[int(np.argmin(by_class))])
        raise InputError(f"class {empty!r} has no row of positive sample_weight: leave its rows out, or give it weight")
