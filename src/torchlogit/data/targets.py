"""What a y stands for: labels, probabilities of the second of two classes, or a distribution over several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchlogit.errors import InputError

Array = NDArray[np.float64]
MOST_COUNTED = 1000  # small whole numbers are counted, which is quicker than sorting them
PART = 1 << 20  # rows that are counted at a time
SUM_TO_ONE = 1e-6  # a distribution may miss 1 by this much; it is divided by its sum

ClassWeight = Mapping[Any, float] | Literal["balanced"] | None
"""The weight of each class by its label, 1 for a label that is left out; "balanced": inverse to the class's weight."""


@dataclass(frozen=True, slots=True)
class Targets:
    """classes (n_classes,); codes (n,), the index of every row's class, or share (n, n_classes), that of each class."""

    classes: NDArray[Any]
    codes: NDArray[np.integer[Any]] | None
    share: Array | None

    def by_class(self, weight: Array) -> Array:
        """The total weight of each class, (n_classes,)."""
        if self.codes is not None:
            total = np.zeros(len(self.classes))
            for start in range(0, len(self.codes), PART):
                part = slice(start, start + PART)
                total += np.bincount(self.codes[part], weights=weight[part], minlength=len(total))
            return total
        assert self.share is not None
        return np.asarray(weight @ self.share)

    def class_weighted(self, weight: Array, by: ClassWeight) -> tuple[Targets, Array]:
        """The targets and row weights under which every class counts by its own weight.

        "balanced": sum_i s_i / (n_classes sum_i s_i y_ik), so that a row's weight is repetition here too.
        sum_k c_k y_ik loss(i, k) is the loss of a row of weight sum_k c_k y_ik, its shares of the classes alike.
        """
        if by is None:
            return self, weight
        if isinstance(by, str):
            counts = self.by_class(weight)
            each = weight.sum() / (len(self.classes) * np.where(counts > 0, counts, 1))
        else:
            each = np.array([by.get(label, 1.0) for label in self.classes.tolist()], dtype=np.float64)
        if self.codes is not None:
            return self, weight * each[self.codes]
        assert self.share is not None
        scaled = self.share * each
        total = scaled.sum(axis=1)
        return replace(self, share=scaled / np.where(total > 0, total, 1)[:, None]), weight * total


def labels(y: NDArray[Any]) -> Targets:
    """The targets of labels of any type, (n,); InputError for one class only."""
    return small_integer_labels(y) or sorted_labels(y)


def small_integer_labels(y: NDArray[Any]) -> Targets | None:
    """The targets of whole numbers that are close together, by counting; None for any other labels."""
    if y.dtype.kind != "i" or not y.size or (span := int(y.max()) - (least := int(y.min()))) >= MOST_COUNTED:
        return None
    above = y.astype(np.int64) - least
    counted = np.bincount(above, minlength=span + 1) > 0
    classes, codes = (np.flatnonzero(counted) + least).astype(y.dtype), np.cumsum(counted) - 1
    return Targets(_several(classes), codes.astype(_code_type(classes))[above], None)


def sorted_labels(y: NDArray[Any]) -> Targets:
    """The targets of labels of any type, (n,), by sorting."""
    classes = _several(np.unique(y))
    return Targets(classes, np.searchsorted(classes, y).astype(_code_type(classes)), None)


def among(labels: NDArray[Any], classes: NDArray[Any]) -> Targets:
    """The targets of labels (n,) that are all among the classes; InputError for one that is not."""
    codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    strange = np.flatnonzero(classes[codes] != labels)
    if len(strange):
        row = int(strange[0])
        raise InputError(
            f"y holds {labels[row : row + 1].tolist()[0]!r} at row {row}; expected one of the classes of the fit, "
            f"{', '.join(map(repr, classes[:10].tolist()))}"
        )
    return Targets(classes, codes.astype(_code_type(classes)), None)


def _code_type(classes: NDArray[Any]) -> type[np.integer[Any]]:
    return np.int16 if len(classes) < 1 << 15 else np.int64


def _several(classes: NDArray[Any]) -> NDArray[Any]:
    if len(classes) < 2:
        only = classes[0].item() if isinstance(classes[0], np.generic) else classes[0]
        raise InputError(f"y has one class only, {only!r}: expected at least two classes; check the target")
    return classes


def probabilities(y: ArrayLike) -> Targets | None:
    """The targets of a y that holds probabilities, or None where it holds labels.

    Probabilities of class 1, (n,): floats in [0, 1], some strictly between. Distributions, (n, K): rows of floats
    that sum to one, whose classes are 0 to K - 1.
    """
    values = np.asarray(y)
    if values.dtype.kind != "f" or values.ndim not in (1, 2) or not values.size:
        return None
    if values.ndim == 1:
        if not (((values >= 0) & (values <= 1)).all() and ((values > 0) & (values < 1)).any()):
            return None
        share = np.stack([1 - values, values], axis=1).astype(np.float64)
        return Targets(np.array([0, 1]), None, share)
    if values.shape[1] < 2:
        return None
    share = values.astype(np.float64)
    total = share.sum(axis=1)
    if not ((share >= 0).all() and (np.abs(total - 1) <= SUM_TO_ONE).all()):
        row = int(np.argmax(~((share >= 0).all(axis=1) & (np.abs(total - 1) <= SUM_TO_ONE))))
        raise InputError(
            f"y of shape {values.shape} at row {row}: {values[row].tolist()}; expected a distribution over the "
            "classes, no entry negative, that sums to 1"
        )
    return Targets(np.arange(share.shape[1]), None, share / total[:, None])
