"""train: fits a model to labelled rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from torchlogit.checkpoints import Checkpoints
from torchlogit.fit import fit
from torchlogit.inference import CLASS_WEIGHTED, covariance
from torchlogit.path import PenaltyPath, certified, with_l2
from torchlogit.records import Certificate, FitProgress, Monitor, Params, Status
from torchlogit.storage import IN_MEMORY, Storage
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.l2_choice import choose_l2, number_or_choice
from torchlogit.training.problem import Problem
from torchlogit.training.progress import show_progress
from torchlogit.training.rows import LabelledRows
from torchlogit.training.settings import Settings
from torchlogit.training.validation import Validation, no_worse, value_at

FLOAT32 = (
    "X is float32, and rounding to it may hide that columns are combinations of others. Give float64 (for tables, use "
    "TableEncoder(standardize=False)), or use a penalty (l2 > 0)"
)
PLACEHOLDER = 1.0  # l2 of a problem until l2 has been chosen; no result depends on it


def train(
    settings: Settings,
    rows: LabelledRows,
    *,
    start: StartingPoint | None = None,
    validation: LabelledRows | None = None,
    choose_l2_by: LabelledRows | None = None,
    monitors: Sequence[Monitor[FitProgress]] = (),
    storage: Storage = IN_MEMORY,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Fit a model to rows.

    Parameters
    ----------
    settings : Settings
        The penalty, the solver, the tolerance and the budgets.
    rows : LabelledRows
        The training rows, without class weights.
    start : StartingPoint, optional
        A model of the same classes and columns to begin from; the objective of the answer is never above its objective.
    validation : LabelledRows, optional
        Rows on which each step is measured; the fit ends once the log loss on them no longer falls.
    choose_l2_by : LabelledRows, optional
        Rows on which l2 is chosen.
    monitors : sequence of callables
        Each is called after each step with a `FitProgress`, whose parameters are for the columns' own units.
    storage : Storage
        Where arrays with an entry per row are allocated.
    checkpoints : Checkpoints, optional
        Where the state of the fit is saved, so that it can resume after the process was killed.

    Raises
    ------
    InputError
        For settings and rows that cannot be used.

    Examples
    --------
    >>> from torchlogit.data.targets import labels
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["no", "yes", "no", "yes"])
    >>> fitted = train(Settings(l2=1.0), LabelledRows.of(X, labels(y), np.ones(4)))
    >>> fitted.coef.round(2).tolist(), str(fitted.certificate.status)
    ([[0.45]], 'certified')
    """
    rows, counted = rows.class_weighted(settings.class_weight), settings.class_weight is None
    if settings.one_pass:
        from torchlogit.training.one_pass import train_rows_once  # takes .1 s to import

        return train_rows_once(settings, rows)
    problem, path = _problem(settings, rows, choose_l2_by, storage)
    objective = problem.objective
    solver = settings.solver_for(objective)
    begin = None if start is None else _begin(problem, start)
    validator = None if validation is None else Validation(problem, validation)
    watching: list[Monitor[FitProgress]] = [] if validator is None else [validator]
    watching += [show_progress] if settings.verbose else []
    watching += monitors
    result = fit(objective, solver, settings.goal(), start=begin, monitors=watching, checkpoints=checkpoints)
    if settings.verbose:
        print(file=sys.stderr)  # ends the progress line
    if validator is not None:
        result = validator.best_of(result)
    if start is not None:  # if `begin` is None, coefficients 0 are at least as good as the given start
        result = no_worse(result, objective, begin or objective.params(objective.feasible(objective.start())))
    if objective.conditioning is not None:  # the last step's parameters were rounded to those for the columns as given
        at_params = replace(result.certificate, objective=value_at(objective, result.params))
        result = replace(result, certificate=at_params)

    result = replace(result, certificate=_with_advice_on_float32(result.certificate, rows))
    return Fitted(
        coef=result.params.coef.cpu().numpy(),
        intercept=result.params.intercept.cpu().numpy(),
        center=None if objective.conditioning is None else objective.conditioning.any_center(),
        classes=rows.classes,
        certificate=result.certificate,
        history=result.history,
        passes=result.passes,
        penalty=objective.penalty,
        has_intercept=settings.fit_intercept,
        tol=settings.tol,
        solver=solver,
        rows=rows.summary(),
        covariance=covariance(objective, result.params, result.certificate) if counted else CLASS_WEIGHTED,
        path=None if path is None else certified(path.points, path.l2, result.certificate),
        chosen_by=None if path is None else path.by,
        validation_history=None if validator is None else validator.history,
        stopped_early=validator is not None and validator.wants_to_stop,
    )


def _with_advice_on_float32(certificate: Certificate, rows: LabelledRows) -> Certificate:
    """The certificate; where there is no bound, probably because columns were rounded, its reason says what to do."""
    reason, single = certificate.reason, getattr(rows.features, "dtype", None) in (np.float32, torch.float32)
    if certificate.status is not Status.UNCERTIFIABLE or certificate.bound is not None or reason is None or not single:
        return certificate
    return replace(certificate, reason=replace(reason, remedy=FLOAT32))


def _problem(
    settings: Settings, rows: LabelledRows, choose_l2_by: LabelledRows | None, storage: Storage
) -> tuple[Problem, PenaltyPath | None]:
    """The problem to solve. If l2 is to be chosen, the problem has the chosen one, and the path is returned, too."""
    l2 = number_or_choice(settings.l2)
    penalty = settings.penalty(rows.n_features, l2 if isinstance(l2, float) else PLACEHOLDER)
    device = settings.device_for(rows.features)
    problem = Problem.of(rows, penalty, intercept=settings.fit_intercept, device=device, storage=storage)
    if isinstance(l2, float):
        return problem, None
    path = choose_l2(l2, problem, seed=settings.seed, validation=choose_l2_by)
    return replace(problem, objective=with_l2(problem.objective, path.l2)), path


def _begin(problem: Problem, start: StartingPoint) -> Params | None:
    """The start as a feasible point; None if F is not lower there than at coefficients 0."""
    objective = problem.objective
    with np.errstate(all="ignore"):  # a start that overflows is rejected below
        given = objective.theta(Params(torch.tensor(start.coef), torch.tensor(start.intercept)))
    points = (given, objective.start())
    begin, empty = (objective.params(objective.feasible(theta)) for theta in points)
    return begin if value_at(objective, begin) < value_at(objective, empty) else None
