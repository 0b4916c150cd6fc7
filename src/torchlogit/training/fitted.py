"""Fitted: the result of training. It holds all that saving, reporting and further training need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.inference import Covariance, Refusal
from torchlogit.path import By, PathPoint
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Step
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

    coef (n_features, n_outputs), intercept (n_outputs,): in the columns' own units. classes (n_classes,): the labels.
    weight: the total weight of the rows that it was fitted to, None if there were none. l2: the l2 of its penalty, None
    if unknown. stream: if it was learned in one pass, the stream, which can continue.
    """

    coef: Array
    intercept: Array
    classes: NDArray[Any]
    weight: float | None = None
    l2: float | None = None
    stream: RunningStream | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained model, with the facts about its training.

    Attributes
    ----------
    coef, intercept : arrays of shape (n_features, n_outputs) and (n_outputs,)
        float64, in the columns' own units; one output for two classes.
    center : array of shape (n_features,) or None
        Predictions are computed from x - center, so that columns far from zero lose no digits; None stands for zeros.
    classes : array of shape (n_classes,)
        The labels.
    certificate, history, passes
        The bound on the distance from the optimum, the steps of the fit, and the number of passes over the rows.
    penalty : ElasticNet
        The penalty that was used; its l2 is always a number, the chosen one if the settings left it open.
    has_intercept, tol
        From the settings.
    solver
        The solver that was used; None if nothing was fitted.
    rows : dict or None
        The number of training rows, their weight and a fingerprint; None if there were no rows.
    covariance : Covariance or Refusal
        The covariance of the coefficients, or why there is none.
    path, chosen_by
        If l2 was chosen: the penalties that were tried, and the measure by which they were compared; else None.
    validation_history, stopped_early
        If there were validation rows: their log loss after each step, and whether it ended the fit.
    stream, progressive, expected_excess, stream_warning
        After training in one pass: the stream, which can learn from further rows; the losses of predictions made for
        each row before learning from it; the expected excess of the log loss over that of the best linear model, in
        nats per unit of weight, None if unknown; and a warning if the predictions were no better than the class share.
    """

    coef: Array
    intercept: Array
    center: Array | None
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
    stream_warning: str | None = None

    @property
    def seconds(self) -> float:
        """The seconds that the fit took; 0 after one pass, which has no history."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def solver_name(self) -> str:
        """The name of the solver's class."""
        return type(self.solver).__name__
