"""The losses of one row in mpmath, by their definitions: log sum e^z - y'z, with as many digits as it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mpmath import mp, mpf

Row = Sequence[float]


@contextmanager
def digits(raw: Row) -> Iterator[None]:
    """Enough digits that e^z beside 1 loses none of the first 50, for any of these z."""
    every = full(raw)
    with mp.workdps(60 + int((max(every) - min(every)) / 2)):
        yield


def full(raw: Row) -> list[mpf]:
    """The raw prediction of every class: a single logit is that of class 1, class 0 has raw prediction 0."""
    return [mpf(0), mpf(raw[0])] if len(raw) == 1 else [mpf(z) for z in raw]


def full_target(target: Row) -> list[mpf]:
    """The wanted probability of every class."""
    return [1 - mpf(target[0]), mpf(target[0])] if len(target) == 1 else [mpf(y) for y in target]


def log_sum_exp(raw: Row) -> mpf:
    """log sum_k e^(z_k)."""
    return mp.log(sum(mp.exp(z) for z in full(raw)))


def value(raw: Row, target: Row) -> mpf:
    """log sum_k e^(z_k) - sum_k y_k z_k."""
    with digits(raw):
        tilt = sum(y * z for y, z in zip(full_target(target), full(raw), strict=True))
        # a soft target's probabilities need not sum to exactly one: the loss is stated for those given
        return log_sum_exp(raw) - tilt


def probability(raw: Row) -> list[mpf]:
    """e^(z_k) / sum_l e^(z_l), one entry per output."""
    with digits(raw):
        exps = [mp.exp(z) for z in full(raw)]
        p = [e / sum(exps) for e in exps]
        return p[1:] if len(raw) == 1 else p


def residual(raw: Row, target: Row) -> list[mpf]:
    """probability - target."""
    with digits(raw):
        return [p - mpf(y) for p, y in zip(probability(raw), target, strict=True)]


def variance_product(q: Sequence[mpf], vector: Row) -> list[mpf]:
    """(diag q - q q') v; q (1 - q) v for one output."""
    if len(q) == 1:
        return [q[0] * (1 - q[0]) * mpf(vector[0])]
    mean = sum(a * mpf(v) for a, v in zip(q, vector, strict=True))
    return [a * (mpf(v) - mean) for a, v in zip(q, vector, strict=True)]


def negative_entropy(q: Sequence[mpf]) -> mpf:
    """sum_k q_k ln q_k over every class."""
    every = [1 - q[0], q[0]] if len(q) == 1 else list(q)
    return sum((a * mp.log(a) for a in every if a > 0), mpf(0))


def divergence(q: Sequence[mpf], raw: Row) -> mpf:
    """KL(q || p(raw)) = sum_k q_k (ln q_k - ln p_k)."""
    with digits(raw):
        every = [1 - q[0], q[0]] if len(q) == 1 else list(q)
        top = log_sum_exp(raw)
        return sum((a * (mp.log(a) - z + top) for a, z in zip(every, full(raw), strict=True) if a > 0), mpf(0))
