"""The penalty on the coefficients, never on the intercept: value, derivatives, proximal operator and dual gap.

The penalty takes the coefficients as (n_features, n_outputs) and is a sum over single coefficients. `l2` is the
precision of a Gaussian prior on each of them and `l1` the rate of a Laplace prior, whatever the number of rows
(scikit-learn's C is 1 / l2). Values by feature (factors, bounds, ridge) are (n_features,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogit.errors import InputError

EPS = torch.finfo(torch.float64).eps
CHUNK = 1 << 15  # coefficients in one step of `fenchel_young`, so that its temporaries stay in the cache
# A dual point that is outside its range by up to this many times its rounding error counts as on its edge. Larger:
# fewer gaps are infinite only because of rounding.
SLACK = 8


@dataclass(frozen=True, slots=True, eq=False)
class ElasticNet:
    """The elastic net with factors, bounds and a ridge by feature.

        Omega(w) = sum_jk f_j (l1 |w_jk| + l2 / 2 w_jk^2) + ridge_j / 2 w_jk^2,  lower_j <= w_jk <= upper_j

    It is infinite outside the bounds. With the default arguments it is zero: maximum likelihood.

    Parameters
    ----------
    l1, l2 : float
        Strengths, not negative.
    factors : (n_features,) float64, optional
        f, multiples of l1 and l2; ones by default.
    lower, upper : (n_features,) float64, optional
        Bounds, which may be infinite; none by default.
    ridge : (n_features,) float64, optional
        A precision that the factors do not multiply; zeros by default.

    Raises
    ------
    InputError
        For strengths that are negative or not finite, parts of different lengths, or a lower bound above the upper.

    References
    ----------
    Zou and Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x.

    Examples
    --------
    >>> ElasticNet(l2=2.0).value(torch.tensor([[3.0]]))
    9.0
    >>> ElasticNet(l1=1.0, lower=torch.tensor([0.0])).prox(torch.tensor([[-3.0, 3.0]]), 1.0)
    tensor([[0., 2.]])
    """

    l1: float = 0.0
    l2: float = 0.0
    factors: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    ridge: Tensor | None = None

    def __post_init__(self) -> None:
        for name, strength in (("l1", self.l1), ("l2", self.l2)):
            if not 0 <= strength < math.inf:
                raise InputError(f"{name}={strength}: expected a positive finite number (use {name}=0 for no penalty)")
        given = {"factors": self.factors, "lower": self.lower, "upper": self.upper, "ridge": self.ridge}
        sizes = {name: tuple(values.shape) for name, values in given.items() if values is not None}
        if any(len(shape) != 1 for shape in sizes.values()) or len(set(sizes.values())) > 1:
            shapes = ", ".join(f"{name} {shape}" for name, shape in sizes.items())
            raise InputError(f"penalty of shapes {shapes}: expected one number for each feature")
        for name in ("factors", "ridge"):
            values = given[name]
            if values is not None and not bool(((values >= 0) & (values < math.inf)).all()):
                raise InputError(f"{name}: expected finite numbers, none negative")
        for name, edge in (("lower", math.inf), ("upper", -math.inf)):
            values = given[name]
            if values is not None and bool((values.isnan() | (values == edge)).any()):
                raise InputError(f"{name}: expected numbers, not NaN and not {edge}")
        if self.lower is not None and self.upper is not None and bool((self.lower > self.upper).any()):
            j = int((self.lower > self.upper).nonzero()[0])
            low, high = float(self.lower[j]), float(self.upper[j])
            raise InputError(f"bounds of feature {j}: lower {low:g} is above upper {high:g}")

    @property
    def smooth(self) -> bool:
        """Whether there is no l1 and no finite bound, so that Omega is a quadratic, the same for every output.

        Streams, SGD, DoG, dual ascent for several classes and the choice of l2 take smooth penalties only: they raise
        an InputError for others.
        """
        kinks = self.l1 > 0 and (self.factors is None or bool((self.factors > 0).any()))
        bounds = (bound for bound in (self.lower, self.upper) if bound is not None)
        return not kinks and not any(bool(bound.isfinite().any()) for bound in bounds)

    def value(self, coef: Tensor) -> float:
        """Omega at coefficients within the bounds: sum of f l1 |w| + precision / 2 w^2."""
        quadratic = 0.5 * self.precision(len(coef)).to(coef) @ coef.square().sum(dim=1)
        if self.l1 == 0:
            return float(quadratic)
        return float(self.l1_rates(len(coef)).to(coef) @ coef.abs().sum(dim=1) + quadratic)

    def gradient(self, coef: Tensor) -> Tensor:
        """The derivative of the quadratic part, the shape of coef: precision * coef."""
        return self.precision(len(coef)).to(coef)[:, None] * coef

    def precision(self, n_features: int) -> Tensor:
        """The second derivative of the quadratic part, (n_features,): f l2 + ridge."""
        precision = self.l2 * _per_feature(self.factors, 1.0, n_features)
        return precision if self.ridge is None else precision + _per_feature(self.ridge, 0.0, n_features)

    def l1_rates(self, n_features: int) -> Tensor:
        """The rate of each feature's |coefficient|, (n_features,): f l1."""
        return self.l1 * _per_feature(self.factors, 1.0, n_features)

    def box(self, n_features: int) -> tuple[Tensor, Tensor]:
        """The lower and the upper bound of each feature's coefficients, (n_features,) each, infinite without one."""
        return _per_feature(self.lower, -math.inf, n_features), _per_feature(self.upper, math.inf, n_features)

    def allows_zero(self, n_features: int) -> Tensor:
        """Booleans (n_features,): whether zero is within a feature's bounds."""
        lower, upper = self.box(n_features)
        return (lower <= 0) & (upper >= 0)

    def prox(self, coef: Tensor, step: float | Tensor) -> Tensor:
        """The proximal operator: the u with the least |u - coef|^2 / (2 step) + Omega(u).

        It is S(coef, step f l1) / (1 + step precision), clipped to the bounds, S the soft threshold. step: a number,
        or (n_features, 1).
        """
        rate, precision, lower, upper = self._columns(coef)
        return clipped(soft_thresholded(coef, step * rate) / (1 + step * precision), lower, upper)

    def dual_range(self, n_features: int) -> tuple[Tensor, Tensor]:
        """The ends of the interval where the conjugate Omega* of each feature is finite, (n_features,) each.

        It is [-f l1, f l1], and infinite on either side where the precision is positive, or a bound limits the
        coefficient on that side.
        """
        rate, curved = self.l1_rates(n_features), self.precision(n_features) > 0
        lower, upper = self.box(n_features)
        low = torch.where(curved | lower.isfinite(), -math.inf, -rate)
        return low, torch.where(curved | upper.isfinite(), math.inf, rate)

    def fenchel_young(self, coef: Tensor, dual: Tensor, rounding: Tensor) -> float:
        """Omega(coef) + Omega*(dual) - <coef, dual>, an upper bound: the penalty's part of a duality gap."""
        return float(self.fenchel_young_parts(coef, dual, rounding).sum())

    def fenchel_young_parts(self, coef: Tensor, dual: Tensor, rounding: Tensor) -> Tensor:
        """Each coefficient's part of `fenchel_young`, the shape of coef.

        rounding, (n_features, 1) or the shape of coef, bounds the error of each entry of `dual`. The gap is convex in
        the dual, so the larger of its values at dual - rounding and dual + rounding is used for each coefficient; the
        rounding of the differences computed here is included. Infinite where `dual` is outside `dual_range` by more
        than rounding. Where the interval of a feature is a single point, `dual` is assumed to be equal to it.
        """
        ends = (end.to(coef)[:, None] for end in self.dual_range(len(coef)))
        columns = coef, dual, rounding, *ends, *self._columns(coef)
        size = max(1, CHUNK // coef.shape[1])
        parts = zip(*(torch.split(column, size) for column in columns), strict=True)
        return torch.cat([_largest_gaps(*part) for part in parts])

    def slope(self, coef: Tensor) -> Tensor:
        """Omega's derivative by each coefficient, NaN where it has none: at a kink and on a bound."""
        rate, precision, lower, upper = self._columns(coef)
        kink = ((coef == 0) & (rate > 0)) | (coef <= lower) | (coef >= upper)
        return torch.where(kink, torch.nan, precision * coef + rate * coef.sign())

    def plus(self, precision: Tensor) -> ElasticNet:
        """This penalty and sum_jk precision_j / 2 * w_jk^2, precision (n_features,)."""
        return replace(self, ridge=precision if self.ridge is None else self.ridge + precision)

    def columns(self, indices: Tensor) -> ElasticNet:
        """This penalty on these features alone."""
        given = (self.factors, self.lower, self.upper, self.ridge)
        factors, lower, upper, ridge = (None if part is None else part[indices.to(part.device)] for part in given)
        return replace(self, factors=factors, lower=lower, upper=upper, ridge=ridge)

    def scaled(self, scale: Tensor) -> ElasticNet:
        """The same penalty on the coefficients of features multiplied by `scale` (n_features,), where they have bounds.

        Only features without l1 and l2 may be scaled; a scale of zero leaves the bounds as they are.
        """
        unit = torch.where(scale > 0, scale, 1.0)
        lower, upper = (None if end is None else end.to(unit) / unit for end in (self.lower, self.upper))
        return replace(self, lower=lower, upper=upper)

    def _columns(self, coef: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """l1 rates, precision, lower and upper bounds, (n_features, 1) each, of coef's dtype and on its device."""
        n_features = len(coef)
        parts = (self.l1_rates(n_features), self.precision(n_features), *self.box(n_features))
        rate, precision, lower, upper = (part.to(coef)[:, None] for part in parts)
        return rate, precision, lower, upper


def soft_thresholded(x: Tensor, rate: Tensor) -> Tensor:
    """S(x, rate) = sign(x) max(|x| - rate, 0), the minimiser of (u - x)^2 / 2 + rate |u|."""
    return x - x.clamp(-rate, rate)


def clipped(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """x, moved to the nearer bound where it is outside [lower, upper]."""
    return torch.minimum(torch.maximum(x, lower), upper)


def _largest_gaps(
    w: Tensor,
    u: Tensor,
    rounding: Tensor,
    low: Tensor,
    high: Tensor,
    rate: Tensor,
    precision: Tensor,
    lower: Tensor,
    upper: Tensor,
) -> Tensor:
    """`fenchel_young` of some features."""
    slack = rounding + 2 * EPS * (u.abs() + rate + precision * w.abs())
    outside = (u < low - SLACK * slack) | (u > high + SLACK * slack)
    gaps = [_gap(w, clipped(end, low, high), rate, precision, lower, upper) for end in (u - slack, u + slack)]
    return torch.where(outside & (low < high), math.inf, torch.maximum(*gaps))


def _gap(w: Tensor, u: Tensor, rate: Tensor, precision: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """phi(w) + phi*(u) - w u, phi(v) = rate |v| + precision / 2 v^2 within the bounds, u where phi* is finite.

    phi* is attained at v = S(u, rate) / precision, clipped to the bounds. There u = s + n + precision v, where s is a
    subgradient of rate |v|, and n the multiplier of the bound at which v was stopped, or 0. With this in place of u,
    the gap becomes

        precision / 2 (w - v)^2  +  |w| (rate - s sign(w))  +  n (v - w),

    three terms that are not negative.
    """
    pulled = soft_thresholded(u, rate)
    peak = torch.where(pulled == 0, 0.0, pulled / precision)
    v = clipped(peak, lower, upper)
    stopped = v != peak
    curved = precision > 0
    apart = torch.where(stopped | ~curved, precision * (w - v).square(), (precision * w - pulled).square() / precision)
    quadratic = torch.where(curved, 0.5 * apart, 0.0)
    s = torch.where(v == 0, u.clamp(-rate, rate), rate * v.sign())
    pushed = torch.where(stopped, (u - s - precision * v) * (v - w), 0.0)
    return quadratic + w.abs() * (rate - s * w.sign()) + pushed.clamp(min=0)


def _per_feature(values: Tensor | None, default: float, n_features: int) -> Tensor:
    """The values, or the default for every feature where there are none, (n_features,) float64."""
    if values is None:
        return torch.full((n_features,), default, dtype=torch.float64)
    if len(values) != n_features:
        raise InputError(f"penalty with {len(values)} factors or bounds: the data has {n_features} features")
    return values.to(torch.float64)
