"""Targets, with the checks that scikit-learn makes of labels and class weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from torchlogit.data.targets import ClassWeight, Targets, among, probabilities, small_integer_labels, sorted_labels


def checked_labels(y: NDArray[Any]) -> Targets:
    """The targets of labels of any type, (n,); ValueError for quantities, InputError for one class only."""
    counted = small_integer_labels(y)
    if counted is not None:
        return counted
    check_classification_targets(y)
    return sorted_labels(y)


def checked_among(y: ArrayLike, classes: NDArray[Any]) -> Targets:
    """The targets of other rows, whose labels are among the classes, or whose distributions are over as many."""
    soft = probabilities(y)
    if soft is not None and len(soft.classes) == len(classes):
        return replace(soft, classes=classes)
    return among(column_or_1d(y, warn=True), classes)


def check_class_weight(by: ClassWeight, targets: Targets) -> None:
    """Raises ValueError for class weights that scikit-learn refuses."""
    if by is None or by == "balanced" or (targets.codes is None and not isinstance(by, str)):
        return
    compute_class_weight(by, classes=targets.classes, y=targets.classes)
