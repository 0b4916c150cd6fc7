"""The prediction methods of scikit-learn's classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from torchlogit.conditioning import intercept_at
from torchlogit.estimator.inputs import NO_TARGET, Inputs, as_array, read, validated
from torchlogit.prediction import likeliest, log_probabilities, probabilities, probability_of, raw_prediction
from torchlogit.training.rows import Array, Features


class LinearClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that predicts from `coef_`, `intercept_` and `classes_`, for every kind of X that `fit` takes."""

    coef_: Array
    intercept_: Array
    classes_: NDArray[Any]
    _center: Array | None = None  # predictions are computed from X - _center (prediction.raw_prediction)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def decision_function(self, X: Any) -> Any:
        """The raw prediction X coef' + intercept: (n,) for two classes, (n, n_classes) for more.

        This and the other methods return arrays; if X is a tensor, they return tensors on its device.
        """
        inputs = self._inputs(X)
        raw = self._raw(inputs)
        return inputs.in_form_of_X(raw[:, 0] if raw.shape[1] == 1 else raw)

    def predict_proba(self, X: Any) -> Any:
        """The probability of every class, (n, n_classes), in the order of `classes_`."""
        inputs = self._inputs(X)
        features = validated(self, inputs, reset=False)
        if isinstance(features, torch.Tensor):
            return inputs.in_form_of_X(probabilities(self._raw_of(features)))
        return inputs.in_form_of_X(probability_of(features, self.coef_.T, self.intercept_, self._center))

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithm of `predict_proba`; finite if the raw prediction is finite."""
        inputs = self._inputs(X)
        return inputs.in_form_of_X(log_probabilities(self._raw(inputs)))

    def predict(self, X: Any) -> Any:
        """The most probable class of every row, (n,); always an array if classes are not numbers."""
        inputs = self._inputs(X)
        return inputs.in_form_of_X(self._likeliest(inputs))

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """The accuracy: the weighted share of rows whose class is predicted correctly; X and y as in `fit`."""
        inputs = self._inputs(X, y)
        return float(accuracy_score(inputs.y, self._likeliest(inputs), sample_weight=as_array(sample_weight)))

    def _inputs(self, X: Any, y: Any = NO_TARGET) -> Inputs:
        check_is_fitted(self)
        return read(X, y, tuple(getattr(self, "feature_names_in_", ())))

    def _likeliest(self, inputs: Inputs) -> NDArray[Any]:
        labels: NDArray[Any] = self.classes_[likeliest(self._raw(inputs))]
        return labels

    def _raw(self, inputs: Inputs) -> Array:
        return self._raw_of(validated(self, inputs, reset=False))

    def _raw_of(self, features: Features) -> Array:
        if isinstance(features, torch.Tensor):
            coef, center = self.coef_.T, np.zeros(self.coef_.shape[1]) if self._center is None else self._center
            parts = coef, intercept_at(center, coef, self.intercept_), center
            weight, bias, origin = (torch.tensor(part).to(features.device) for part in parts)
            tensor: Array = ((features.to(torch.float64) - origin) @ weight + bias).cpu().numpy()
            return tensor
        return raw_prediction(features, self.coef_.T, self.intercept_, self._center)
