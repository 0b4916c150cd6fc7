"""Fits a problem through `LogisticRegression`, and judges what is claimed about it in exact arithmetic."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

from attack.exact import BITS, Exact, Theta, exact
from attack.overlap import overlap
from attack.problems import Problem
from torchlogit import LogisticRegression
from torchlogit.errors import TorchlogitError

# Share of F + 1e-3, and of a logit (of 1, where it is smaller), that counts as rounding in what is printed.
SAME = mpf("1e-9")
AGREE = mpf(64) * mpf(2) ** -52  # of columns that agree up to rounding, relative to the terms


@dataclass(frozen=True, slots=True)
class Fault:
    """A claim that does not hold: of which sort, one of SORTS, and what is wrong."""

    sort: str
    text: str


SORTS = ("bound", "separation", "objective", "prediction", "parameters", "relation", "crash")
MISSED = "missed"  # a sort of its own: the classes are separated, and nothing is claimed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is claimed about a problem, and what is wrong with it.

    bound, gap: in nats; gap is F at the returned parameters less F at the best point that was found, None where F is
    not comparable. faults: empty where all claims hold. missed: the classes are separated, and nothing is claimed.
    undecided: whether the bound holds was neither shown nor refuted.
    """

    problem: Problem
    status: str
    bound: float | None
    objective: float
    gap: float | None
    faults: tuple[Fault, ...]
    undecided: bool
    seconds: float


def judged(problem: Problem) -> Verdict:
    """The verdict on the fit of this problem."""
    start = time.perf_counter()
    model = LogisticRegression(**problem.settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(problem.rows, problem.y, sample_weight=problem.weight, offset=problem.offset)
    except TorchlogitError as error:
        return Verdict(problem, type(error).__name__, None, np.nan, None, (), False, time.perf_counter() - start)
    except Exception as error:
        fault = Fault("crash", f"{type(error).__name__}: {str(error)[:80]}")
        return Verdict(problem, "crash", None, np.nan, None, (fault,), False, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    with mp.workprec(BITS):
        return _Judge(problem, model).verdict(seconds)


class _Judge:
    def __init__(self, problem: Problem, model: LogisticRegression) -> None:
        self.problem, self.model, self.certificate = problem, model, model.certificate_
        settings, d = problem.settings, problem.X.shape[1]
        factors = [exact(v) for v in np.broadcast_to(settings.get("penalty_factors", 1.0), d)]
        self.intercept = settings.get("fit_intercept", True)
        lower, upper = settings.get("bounds") or (None, None)
        self.lower = np.broadcast_to(-np.inf if lower is None else lower, d).astype(float)
        self.upper = np.broadcast_to(np.inf if upper is None else upper, d).astype(float)
        n, target = len(problem.X), problem.target
        self.exact = Exact(
            problem.X.astype(float),
            target,
            np.ones(n) if problem.weight is None else problem.weight,
            np.zeros(target.shape) if problem.offset is None else problem.offset.reshape(target.shape),
            intercept=self.intercept,
            l2=[exact(settings.get("l2", 1.0)) * f for f in factors],
            l1=[exact(settings.get("l1", 0.0)) * f for f in factors],
            lower=self.lower,
            upper=self.upper,
        )

    def verdict(self, seconds: float) -> Verdict:
        """All checks."""
        certificate, status = self.certificate, str(self.certificate.status)
        bound = certificate.bound
        claims = status == "certified" or bound is not None
        faults: list[Fault] = []
        gap, undecided = None, False
        if not (np.isfinite(self.model.coef_).all() and np.isfinite(self.model.intercept_).all()):
            if status != "diverged":
                faults.append(Fault("parameters", "they are not finite"))
            return Verdict(self.problem, status, bound, certificate.objective, None, tuple(faults), False, seconds)
        theta = self._theta()
        value = self.exact.value(theta)
        for k, own in enumerate(theta):
            if any(not a <= v <= b for v, a, b in zip(own, self.exact.lower, self.exact.upper, strict=True)):
                faults.append(Fault("parameters", f"output {k} is out of bounds"))
        if claims and (bound is None or not np.isfinite(certificate.objective)):
            faults.append(Fault("bound", f"the objective is {certificate.objective}, the bound {bound}"))
        elif claims:
            found, gap, undecided = self._bound(theta, value, exact(bound))
            faults += found
        faults += self._reported(value)
        faults += self._predictions(theta)
        faults += self._separation(status, claims)
        return Verdict(self.problem, status, bound, certificate.objective, gap, tuple(faults), undecided, seconds)

    def _theta(self) -> Theta:
        coef, intercept = self.model.coef_, self.model.intercept_
        rows = [[exact(v) for v in row] for row in coef]
        return [[*row, exact(b)] for row, b in zip(rows, intercept, strict=True)] if self.intercept else rows

    def _bound(self, theta: Theta, value: mpf, bound: mpf) -> tuple[list[Fault], float | None, bool]:
        """F at the parameters returned, less that of the best point, against the bound."""
        relations = getattr(self.certificate, "collinear", ())
        faults = self._relations(relations)
        kept = self._without(theta, relations)
        if bound >= value:
            return faults, None, False
        best, left = self.exact.lower_value(kept, [r.column for r in relations], value - bound)
        gap = float(value - best)
        if value - best > bound:
            return [*faults, Fault("bound", f"the bound is {float(bound):.3g}, the gap {gap:.3g}")], gap, False
        return faults, gap, not best - 2 * left > value - bound

    def _relations(self, relations: tuple) -> list[Fault]:
        """Whether the columns that are taken as equal are."""
        faults, d = [], self.problem.X.shape[1]
        if not self.intercept and any(r.column == d for r in relations):
            faults.append(Fault("relation", "there is no intercept"))
        for relation in relations:
            for row in self.exact.rows:
                row = row if self.intercept else [*row, mpf(1)]
                terms = [row[relation.column], *(-exact(f) * row[j] for j, f in relation.others)]
                if abs(mp.fsum(terms)) > AGREE * mp.fsum(map(abs, terms)):
                    faults.append(Fault("relation", f"column {relation.column} is not what {relation} says"))
                    break
        return faults

    def _without(self, theta: Theta, relations: tuple) -> Theta:
        """The point with the coefficients of these columns carried over to those that they are combinations of."""
        theta = [list(own) for own in theta]
        for relation in relations:
            for own in theta:
                v, own[relation.column] = own[relation.column], mpf(0)
                for j, factor in relation.others:
                    own[j] += v * exact(factor)
        return theta

    def _reported(self, value: mpf) -> list[Fault]:
        """The objective that is reported, against F at the parameters returned."""
        reported = self.certificate.objective
        if not np.isfinite(reported):
            return []
        slack = SAME * (value + mpf(1) / 1000) + exact(self.certificate.bound or 0)
        if abs(exact(reported) - value) <= slack:
            return []
        return [Fault("objective", f"it is said to be {reported:.12g}, and is {float(value):.12g}")]

    def _predictions(self, theta: Theta) -> list[Fault]:
        """decision_function on the rows, against the returned parameters."""
        rows = [[exact(v) for v in row] for row in self.problem.X.astype(float)]
        given = np.asarray(self.model.decision_function(self.problem.rows)).reshape(len(rows), -1)
        worst = mpf(0)
        for row, printed in zip(rows, given, strict=True):
            row = [*row, mpf(1)] if self.intercept else row
            for own, shown in zip(theta, printed, strict=True):
                z = mp.fdot(zip(row, own, strict=True))
                off = abs(z - exact(shown)) if np.isfinite(shown) else mp.inf
                worst = max(worst, off / max(mpf(1), abs(z)))
        return [Fault("prediction", f"the logit is {float(worst):.2g} off")] if worst > SAME else []

    def _separation(self, status: str, claims: bool) -> list[Fault]:
        """What is claimed about a finite minimum, against exact linear programming."""
        free = [j for j in range(self.problem.X.shape[1]) if not self.exact.l1[j] and not self.exact.l2[j]]
        free = [j for j in free if not (np.isfinite(self.lower[j]) and np.isfinite(self.upper[j]))]
        relations = getattr(self.certificate, "collinear", ())
        dropped = {relation.column for relation in relations}
        free = [j for j in free if j not in dropped]
        if not free and status != "separated":
            return []
        X = self.problem.X.astype(float)[:, free]
        signs = np.where(np.isfinite(self.lower[free]), 1, np.where(np.isfinite(self.upper[free]), -1, 0))
        if self.intercept and X.shape[1] not in dropped:
            X, signs = np.column_stack([X, np.ones(len(X))]), np.append(signs, 0)
        kept = self.problem.weight > 0 if self.problem.weight is not None else slice(None)
        overlapping = overlap(X[kept], self.problem.target[kept], signs)
        if status == "separated" and overlapping:
            return [Fault("separation", "it is claimed, and the classes overlap")]
        if claims and not overlapping:
            return [Fault("separation", f"a bound of {self.certificate.bound:.3g}, and the classes are separated")]
        if status in ("uncertifiable", "budget") and not overlapping:
            return [Fault(MISSED, "the classes are separated")]
        return []
