"""Fitted: the outcome of training. Whatever is saved, printed or continued from is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.inference import Covariance, Refusal
from torchlogit.path import By, PathPoint
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Step
from torchlogit.solvers import Solver
from torchlogit.streaming.progressive import Progressive
from torchlogit.training.settings import OnePassSolver

if TYPE_CHECKING:
    from torchlogit.training.running_stream import RunningStream

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValidationStep:
    """The mean log loss on the validation rows after a step.

    passes: readings of the training rows. seconds: since the fit began.
    """

    passes: float
    seconds: float
    log_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class StartingPoint:
    """An earlier model that training begins from.

    coef (n_features, n_outputs), intercept (n_outputs,): in the columns' own units. classes (n_classes,). weight: the
    total weight of the rows it was fitted to, None where there were none. l2: of its penalty, None where unknown.
    stream: the stream that it comes from, if it was learned in one pass.
    """

    coef: Array
    intercept: Array
    classes: NDArray[Any]
    weight: float | None = None
    l2: float | None = None
    stream: RunningStream | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained model, and how it came to be.

    Attributes
    ----------
    coef, intercept : arrays of shape (n_features, n_outputs) and (n_outputs,)
        float64, in the columns' own units; one output for two classes.
    center : array of shape (n_features,)
        What was subtracted from the columns while fitting; the covariance belongs to the centred columns.
    classes : array of shape (n_classes,)
        The labels.
    certificate, history, passes
        How far the answer is from the optimum, the steps of the fit, and the number of passes over the rows.
    penalty : ElasticNet
        The penalty that was used; its l2 is a number even where l2 was chosen.
    has_intercept, tol
        Of the settings.
    solver
        The solver that was used; None where there was no fit.
    rows : dict or None
        Number of training rows, their weight and a fingerprint; None where there were no rows.
    covariance : Covariance or Refusal
        The covariance of the coefficients, or why there is none.
    path, chosen_by
        Where l2 was chosen: the penalties that were tried, and what they were compared by.
    validation_history, stopped_early
        Where there were validation rows: their log loss after each step, and whether it ended the fit.
    stream, progressive, expected_excess
        After one pass: the stream, which can go on with further rows; the losses on rows before they were learned from;
        and by how much the log loss per unit of weight is expected to exceed that of the best linear model, in nats,
        None where unknown.
    """

    coef: Array
    intercept: Array
    center: Array
    classes: NDArray[Any]
    certificate: Certificate
    history: tuple[Step, ...]
    passes: float
    penalty: ElasticNet
    has_intercept: bool
    tol: float
    solver: Solver | OnePassSolver | None
    rows: dict[str, Any] | None
    covariance: Covariance | Refusal
    path: tuple[PathPoint, ...] | None = None
    chosen_by: By | None = None
    validation_history: list[ValidationStep] | None = None
    stopped_early: bool = False
    stream: RunningStream | None = None
    progressive: Progressive | None = None
    expected_excess: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds that the fit took; 0 after one pass, which has no history."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def solver_name(self) -> str:
        """The name of the solver's class."""
        return type(self.solver).__name__


def in_own_units(params: Params, center: Array) -> tuple[Array, Array]:
    """coef (n_features, n_outputs) and intercept (n_outputs,) for columns as they were before centring.

    For more than two classes the intercepts are determined up to a constant; it is chosen so that their sum is 0.
    """
    coef = params.coef.T.cpu().numpy().copy()
    intercept = params.intercept.cpu().numpy() - coef @ center
    intercept -= intercept.mean() if len(intercept) > 1 else 0.0
    return np.ascontiguousarray(coef.T), intercept
