"""Standard errors of the coefficients, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.collinear import relations
from torchlogit.conditioning import Conditioning
from torchlogit.objective import Objective
from torchlogit.quadratic import Factor, factor
from torchlogit.records import Certificate, Params, Relation, Status

# The largest distance of an answer from the optimum, in standard errors, at which errors are computed. Larger: they are
# computed for less exact answers.
CLOSE = 0.05
# A combination counts as estimable where it differs from one that is by this share of its terms. Larger: more do.
ESTIMABLE = 1e-10
DETERMINED = 1e-6  # share of a combination that may lie where H has no digits; larger: errors of fewer digits
MAX_PARAMETERS = 2500  # the most parameters for which the covariance, a square matrix of them, is formed


@dataclass(frozen=True, slots=True)
class Covariance:
    """The covariance of the coefficients: H^-1 at the optimum, H the Hessian of the negative log-likelihood.

    Where columns are collinear, H is singular, and the data determine some combinations of their coefficients only (the
    *estimable* ones, Searle 1971, section 5.4): those that vanish along every relation among the columns.

    factored: H in the free coordinates of objective.py, for those of the conditioned columns that are `kept` (p,): all
    but the one that each relation expresses by others. basis (n_outputs, n_free): of the free coordinates. relations:
    among the columns as given. conditioning: how the conditioned columns follow from the columns as given; None where
    they are the same.
    """

    factored: Factor
    kept: Tensor
    basis: Tensor
    relations: tuple[Relation, ...] = ()
    conditioning: Conditioning | None = None

    def errors_of(self, combinations: Tensor) -> Tensor:
        """Standard errors (m, n_outputs) of m linear combinations of the coefficients, NaN where undetermined.

        combinations (m, p): the factors of the coefficients of the columns as given, and last that of the intercept. A
        row of X with a 1 at its end gives the standard error of its raw prediction.
        """
        known = self._estimable(combinations)
        given = self._conditioned(combinations)[:, self.kept].T
        errors = []
        for free in self.basis:
            right = torch.cat([share * given for share in free])
            errors.append(self.factored.half(right).square().sum(dim=0).sqrt())
            known = known & self.factored.in_range(right, DETERMINED)
        return torch.where(known[:, None], torch.stack(errors, dim=1), torch.nan)

    @property
    def inverse(self) -> Tensor:
        """H^-1 (n_free p, n_free p); where H is singular, a generalised inverse, zero for columns not kept."""
        every = self.kept.repeat(self.basis.shape[1])
        inverse = torch.zeros(len(every), len(every), dtype=torch.float64, device=every.device)
        inverse[torch.outer(every, every)] = self.factored.inverse().reshape(-1)
        return inverse

    def contrasts(self) -> list[tuple[int, int]]:
        """Columns whose coefficients are undetermined, each with the first one whose difference from it is estimable.

        Such columns have the same factors in every relation, as all levels of a one-hot column have.
        """
        if not self.relations:
            return []
        directions = self._undetermined(len(self.kept))
        groups: dict[tuple[float, ...], list[int]] = {}
        for j, factors in enumerate(directions.T.tolist()):
            groups.setdefault(tuple(factors), []).append(j)
        return [(j, first) for factors, (first, *others) in groups.items() if any(factors) for j in others]

    def _estimable(self, combinations: Tensor) -> Tensor:
        """Whether each combination has one value for all coefficients of the same raw predictions: booleans."""
        directions = self._undetermined(combinations.shape[1]).to(combinations)
        size = combinations.abs() @ directions.abs().T
        return ((combinations @ directions.T).abs() <= ESTIMABLE * size).all(dim=1)

    def _undetermined(self, p: int) -> Tensor:
        """The directions along which coefficients can move and no raw prediction changes: (relations, p)."""
        directions = torch.zeros(len(self.relations), p, dtype=torch.float64)
        for direction, relation in zip(directions, self.relations, strict=True):
            direction[relation.column] = -1.0
            for j, share in relation.others:
                direction[j] = share
        return directions

    def _conditioned(self, combinations: Tensor) -> Tensor:
        """The same combinations in terms of the coefficients of the conditioned columns."""
        if self.conditioning is None:
            return combinations
        parts = self.conditioning.center, self.conditioning.scale
        center, scale = (torch.from_numpy(part).to(combinations) for part in parts)
        d = len(center)
        intercept = combinations[:, d:].sum(dim=1, keepdim=True)
        return torch.cat([(combinations[:, :d] - intercept * center) * scale, combinations[:, d:]], dim=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there are no standard errors, as a phrase."""

    reason: str


CLASS_WEIGHTED = Refusal(
    "class weights are not counts of rows, so the inverse Hessian is not the coefficients' covariance; fit without them"
)


def covariance(objective: Objective, params: Params, certificate: Certificate) -> Covariance | Refusal:
    """The covariance of a maximum-likelihood answer, or why there is none; X is read once, more often if H is singular.

    It is the inverse of the observed information (McCullagh and Nelder 1989, section 4.4). That is valid without a
    penalty only, which would bias the answer, for classes that are not separated, and close to the optimum.
    """
    reason = _refusal(objective, certificate)
    if reason:
        return Refusal(reason)
    hessian = objective.hessian(objective.residual(objective.raw(objective.theta(params))))
    factored, found = factor(hessian), tuple[Relation, ...]()
    kept = torch.ones(objective.design.shape[1], dtype=torch.bool, device=hessian.device)
    if not factored.triangular:
        found = relations(objective)
        kept[[relation.column for relation in found]] = False
    if found:
        every = kept.repeat(objective.n_free)
        factored = factor(hessian[every][:, every])
    return Covariance(factored, kept, objective.basis(), found, objective.conditioning)


def _refusal(objective: Objective, certificate: Certificate) -> str:
    if bool((objective.precision > 0).any()) or not objective.penalty.smooth:
        return "a penalty or bounds bias the coefficients, so standard errors are not valid; fit without either"
    if certificate.status is Status.SEPARATED:
        return "the classes are separated: coefficients that run off to infinity have no standard errors"
    if certificate.standard_errors is None or certificate.standard_errors > CLOSE:
        return f"the answer is not proven to be within {CLOSE} standard errors of the optimum"
    if objective.n_parameters > MAX_PARAMETERS:
        return f"there are more than {MAX_PARAMETERS:,} coefficients: their covariance is not formed"
    return ""
