"""Makes LabelledRows from X, y, sample_weight and offset, with scikit-learn's checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from torchlogit.data.targets import ClassWeight, Targets, among, probabilities, small_integer_labels, sorted_labels
from torchlogit.design import as_csr
from torchlogit.errors import InputError
from torchlogit.estimator.inputs import Inputs, as_array, read, validated, validated_pair
from torchlogit.training.rows import Array, Features, LabelledRows, plain_label

EvalSet = tuple[Any, Any] | tuple[Any, Any, ArrayLike]


def training_rows(
    estimator: Any, inputs: Inputs, sample_weight: Any, offset: Any, class_weight: ClassWeight
) -> LabelledRows:
    """The rows of `fit`; sets the estimator's `n_features_in_` and `feature_names_in_`."""
    targets = None if inputs.y is None else probabilities(inputs.y)
    if targets is not None:
        features = validated(estimator, inputs, reset=True)
        check_consistent_length(features, inputs.y)
    else:
        features, labels = validated_pair(estimator, inputs)
        targets = checked_labels(labels)
    weight = _weights(sample_weight, features.shape[0])
    _check_class_weight(class_weight, targets)
    return LabelledRows.of(_canonical(features), targets, weight, as_array(offset))


def validation_rows(estimator: Any, eval_set: EvalSet, classes: NDArray[Any]) -> LabelledRows:
    """The rows of eval_set; their columns must be those of the training rows."""
    if not isinstance(eval_set, tuple) or len(eval_set) not in (2, 3):
        raise InputError("eval_set: expected a tuple, (X, y) or (X, y, sample_weight); give one such set of rows")
    X, y, sample_weight = (*eval_set, None)[:3]
    inputs = read(X, y, tuple(getattr(estimator, "feature_names_in_", ())))
    features = _canonical(validated(estimator, inputs, reset=False))
    check_consistent_length(features, inputs.y)
    weight = _weights(sample_weight, features.shape[0])
    return LabelledRows.of(features, _checked_among(inputs.y, classes), weight)


def further_rows(estimator: Any, X: Any, y: Any, classes: ArrayLike | None, sample_weight: Any) -> LabelledRows:
    """The rows of `partial_fit`.

    Their classes are those of the estimator if it has any, else those in `classes`, else those of the labels.
    """
    first = not hasattr(estimator, "coef_")
    inputs = read(X, y, () if first else tuple(getattr(estimator, "feature_names_in_", ())))
    features, labels = validated_pair(estimator, inputs, reset=first)
    check_classification_targets(labels)
    known = _known_classes(getattr(estimator, "classes_", None), labels, classes)
    targets = Targets(known, _codes(labels, known), None)
    return LabelledRows.of(_canonical(features), targets, _weights(sample_weight, len(labels)))


def checked_labels(y: NDArray[Any]) -> Targets:
    """The targets of labels of any type, (n,); ValueError for continuous values, InputError for only one class."""
    counted = small_integer_labels(y)
    if counted is not None:
        return counted
    check_classification_targets(y)
    return sorted_labels(y)


def _checked_among(y: ArrayLike, classes: NDArray[Any]) -> Targets:
    """The targets of validation rows: labels from `classes`, or distributions over that number of classes."""
    soft = probabilities(y)
    if soft is not None and len(soft.classes) == len(classes):
        return replace(soft, classes=classes)
    return among(column_or_1d(y, warn=True), classes)


def _check_class_weight(by: ClassWeight, targets: Targets) -> None:
    """Raises ValueError for class weights that scikit-learn refuses."""
    if by is None or by == "balanced" or (targets.codes is None and not isinstance(by, str)):
        return
    compute_class_weight(by, classes=targets.classes, y=targets.classes)


def _canonical(X: Any) -> Features:
    return as_csr(X) if scipy.sparse.issparse(X) else X


def _weights(sample_weight: Any, n: int) -> Array:
    """The checked weights of n rows, (n,); ones if none are given."""
    ones: Array = np.broadcast_to(1.0, n)
    if sample_weight is None:
        return ones
    checked: Array = _check_sample_weight(as_array(sample_weight), ones, dtype=np.float64, ensure_non_negative=True)
    return checked


def _known_classes(fitted: NDArray[Any] | None, labels: NDArray[Any], announced: ArrayLike | None) -> NDArray[Any]:
    known = fitted
    if announced is not None:
        given = np.unique(np.asarray(announced))
        if known is not None and not np.array_equal(given, known):
            raise InputError(f"classes={given.tolist()}: the model has {known.tolist()}; use a new model for others")
        known = given
    if known is None:
        known = np.unique(labels)
    if len(known) < 2:
        only = plain_label(known[0])
        raise InputError(
            f"y has one class only, {only!r}: announce all classes, partial_fit(X, y, classes=[{only!r}, ...])"
        )
    return known


def _codes(labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    """The index of each label in the known classes; InputError for a label that is not one of them."""
    codes = np.searchsorted(known, labels).clip(0, len(known) - 1)
    unknown = known[codes] != labels
    if unknown.any():
        label = plain_label(labels[unknown][0])
        raise InputError(
            f"y holds {label!r}, which is none of the classes {known.tolist()}: announce every class with the first "
            f"call of partial_fit, classes=[{label!r}, ...]"
        )
    return np.asarray(codes, dtype=np.int64)
