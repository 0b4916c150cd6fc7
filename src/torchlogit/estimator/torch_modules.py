"""Makes a Fitted, without certificate, from the coefficients of a torch.nn.Linear."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from torchlogit.errors import InputError
from torchlogit.inference import Refusal
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Status, StopReason
from torchlogit.training.fitted import Fitted

Array = NDArray[np.float64]
NOT_MEASURED = Certificate(
    Status.UNCERTIFIABLE,
    math.nan,
    None,
    reason=StopReason(known="the coefficients were taken over from torch, and not measured on any data"),
)


def fitted_from_linear(linear: torch.nn.Linear, classes: ArrayLike | None) -> Fitted:
    """A Fitted with the same predictions as the Linear."""
    coef, intercept, labels = _parameters(linear, classes)
    return Fitted(
        coef=coef,
        intercept=intercept,
        center=None,
        classes=labels,
        certificate=NOT_MEASURED,
        history=(),
        passes=0.0,
        penalty=ElasticNet(),
        has_intercept=linear.bias is not None,
        tol=math.nan,
        solver=None,
        rows=None,
        covariance=Refusal(NOT_MEASURED.message),
    )


def _parameters(linear: torch.nn.Linear, classes: ArrayLike | None) -> tuple[Array, Array, NDArray[np.generic]]:
    """coef (n_features, n_outputs), intercept and the classes in ascending order, from a Linear's outputs.

    A single output is the logit of the second class. Two outputs are a softmax of two classes, whose logit is their
    difference.
    """
    if not isinstance(linear, torch.nn.Linear):
        raise InputError(f"{type(linear).__name__}: expected a torch.nn.Linear, such as the last layer of a network")
    outputs = max(linear.out_features, 2)
    labels = np.arange(outputs) if classes is None else np.asarray(classes)
    order = np.argsort(labels, kind="stable") if labels.ndim == 1 else np.arange(0)
    if labels.shape != (outputs,) or len(np.unique(labels)) < outputs:
        raise InputError(f"classes={classes!r}: expected {outputs} different ones, in the order of the outputs")
    weight = _float64(linear.weight)
    bias = np.zeros(len(weight)) if linear.bias is None else _float64(linear.bias)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InputError("the Linear holds numbers that are not finite: nothing to take over")
    if len(weight) == 1:
        sign = 1.0 if order[0] == 0 else -1.0
        weight, bias = sign * weight, sign * bias
    else:
        weight, bias = weight[order], bias[order]
        if outputs == 2:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    return np.ascontiguousarray(weight.T), bias, labels[order]


def _float64(parameter: torch.Tensor) -> Array:
    values: Array = parameter.detach().to("cpu", torch.float64).numpy().copy()
    return values
