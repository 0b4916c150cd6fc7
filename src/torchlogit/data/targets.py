"""Targets: class labels, probabilities of the second of two classes, or distributions over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchlogit.errors import InputError

Array = NDArray[np.float64]
# Integer labels whose largest and smallest differ by less than this are counted, which is faster than sorting them.
# The array of counts has up to this many entries.
MAX_SPAN = 1000
# Rows whose weights are summed at a time. bincount copies their codes to int64, so that larger blocks take more memory.
BLOCK_ROWS = 1 << 20
# How much the sum of a row's probabilities may differ from 1. The probabilities are then divided by their sum.
SUM_TOLERANCE = 1e-6

ClassWeight = Mapping[Any, float] | Literal["balanced"] | None
"""The weight of each class by its label, 1 if left out; "balanced": in inverse proportion to the class's row weight."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of n rows: either one class per row, or probabilities of all classes per row.

    classes: the labels, (n_classes,). codes: the index of each row's class, (n,). share: the probability of every
    class, (n, n_classes). One of codes and share is None.
    """

    classes: NDArray[Any]
    codes: NDArray[np.integer[Any]] | None
    share: Array | None

    def by_class(self, weight: Array) -> Array:
        """The total weight of each class, (n_classes,)."""
        if self.codes is not None:
            total = np.zeros(len(self.classes))
            for start in range(0, len(self.codes), BLOCK_ROWS):
                block = slice(start, start + BLOCK_ROWS)
                total += np.bincount(self.codes[block], weights=weight[block], minlength=len(total))
            return total
        assert self.share is not None
        return np.asarray(weight @ self.share)

    def class_weighted(self, weight: Array, by: ClassWeight) -> tuple[Targets, Array]:
        """The targets and row weights after each class k is given the weight c_k.

        "balanced": c_k = sum_i s_i / (n_classes sum_i s_i y_ik) with row weights s_i, so that a row of weight 2 counts
        as two rows. For targets y_ik that are probabilities, the row's loss sum_k c_k y_ik loss_ik equals the loss of a
        row whose weight is s_i sum_k c_k y_ik and whose probabilities are proportional to c_k y_ik.
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
    """The targets of labels of any type, (n,); InputError for one class only.

    >>> labels(np.array(["no", "yes", "no"])).codes
    array([0, 1, 0], dtype=int16)
    """
    return small_integer_labels(y) or sorted_labels(y)


def small_integer_labels(y: NDArray[Any]) -> Targets | None:
    """The targets of whole numbers that are close together (MAX_SPAN), by counting; None for any other labels."""
    if y.dtype.kind != "i" or not y.size or (span := int(y.max()) - (least := int(y.min()))) >= MAX_SPAN:
        return None
    above = y.astype(np.int64) - least
    counted = np.bincount(above, minlength=span + 1) > 0
    classes, codes = (np.flatnonzero(counted) + least).astype(y.dtype), np.cumsum(counted) - 1
    return Targets(_at_least_two(classes), codes.astype(_code_type(classes))[above], None)


def sorted_labels(y: NDArray[Any]) -> Targets:
    """The targets of labels of any type, (n,), by sorting."""
    classes = _at_least_two(np.unique(y))
    return Targets(classes, np.searchsorted(classes, y).astype(_code_type(classes)), None)


def among(labels: NDArray[Any], classes: NDArray[Any]) -> Targets:
    """The targets of labels (n,), given the sorted classes; InputError for a label that is not one of them."""
    codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = np.flatnonzero(classes[codes] != labels)
    if len(unknown):
        row = int(unknown[0])
        raise InputError(
            f"y holds {labels[row : row + 1].tolist()[0]!r} at row {row}; expected one of the classes of the fit, "
            f"{', '.join(map(repr, classes[:10].tolist()))}"
        )
    return Targets(classes, codes.astype(_code_type(classes)), None)


def _code_type(classes: NDArray[Any]) -> type[np.integer[Any]]:
    return np.int16 if len(classes) < 1 << 15 else np.int64


def _at_least_two(classes: NDArray[Any]) -> NDArray[Any]:
    if len(classes) < 2:
        only = classes[0].item() if isinstance(classes[0], np.generic) else classes[0]
        raise InputError(f"y has one class only, {only!r}: expected at least two classes; check the target")
    return classes


def probabilities(y: ArrayLike) -> Targets | None:
    """The targets if y holds probabilities; None if it holds labels.

    y holds probabilities of class 1 if it has shape (n,) and floats in [0, 1], at least one strictly between 0 and 1.
    If it has shape (n, K), each row must be a distribution over the classes 0 to K - 1: floats that sum to 1.
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
    is_distribution = (share >= 0).all(axis=1) & (np.abs(total - 1) <= SUM_TOLERANCE)
    if not is_distribution.all():
        row = int(np.argmin(is_distribution))
        raise InputError(
            f"y of shape {values.shape} at row {row}: {values[row].tolist()}; expected a distribution over the "
            "classes, no entry negative, that sums to 1"
        )
    return Targets(np.arange(share.shape[1]), None, share / total[:, None])
