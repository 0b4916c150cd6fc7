"""Prediction with expert advice, as compiled loops: the experts' weights are updated row by row from their losses.

The weights follow Bayes' rule with fixed-share switching (Herbster and Warmuth 1998, doi:10.1023/A:1007424614876),
once for each of several switching rates; the resulting mixtures are weighted in the same way. Used by all streams.

Exponentials and logarithms are computed for all rows at once, so that the processor handles several rows per
instruction; only sums and products are computed row by row. `losses` and `likelihoods` use no fused or reordered
additions, with which a row's last bits would depend on its place in the block. Compiling takes a second or two at the
first call and is cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.fast_math import exp_below, log1p_unit, log_normal

# fastmath=False is written out because numba otherwise passes the caller's fastmath flags on to an inlined function.
_exact = njit(nogil=True, cache=True, fastmath=False, error_model="numpy")
_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")

RECENT = 4096.0  # rows over which the weights used for the answer are averaged; more: less noisy, slower to follow


@_exact
def losses(raw, target, out):  # type: ignore[no-untyped-def]
    """out (n,) = the log loss of each row: binary for one output, softmax for more."""
    n, outputs = raw.shape
    if outputs == 1:
        z, y = raw.reshape(n), target.reshape(n)
        for i in range(n):
            size = abs(z[i])
            positive = 1.0 if z[i] > 0.0 else 0.0
            out[i] = log1p_unit(exp_below(-size)) + abs(positive - y[i]) * size
        return
    for i in range(n):
        top = raw[i, 0]
        for k in range(1, outputs):
            top = max(top, raw[i, k])
        total = of_target = 0.0
        for k in range(outputs):
            total += math.exp(raw[i, k] - top)
            of_target += target[i, k] * (raw[i, k] - top)
        out[i] = math.log(total) - of_target


@_exact
def likelihoods(loss, weight):  # type: ignore[no-untyped-def]
    """Replace the losses (e, n) of e predictions by exp(-weight * loss), divided by the largest in each row."""
    n = len(weight)
    least = np.full(n, np.inf)
    for e in range(len(loss)):
        for i in range(n):
            least[i] = min(least[i], loss[e, i])
    for e in range(len(loss)):
        for i in range(n):
            loss[e, i] = exp_below(-weight[i] * (loss[e, i] - least[i]))


@_exact
def limit(raws, weight, rows_before, weight_before):  # type: ignore[no-untyped-def]
    """Limit the log-odds that raw predictions (e, n, outputs) hold to +-log(2 t + 1) after t rows, or weight t.

    These are the log-odds of the Krichevsky-Trofimov estimate after t rows of one class: t rows are no evidence for
    more. Where larger log-odds are right, the limit costs at most 1/(2 t) nats a row. Not a number is replaced by 0.
    """
    experts, n, outputs = raws.shape
    most = np.empty(n)
    for i in range(n):
        most[i] = 2.0 * max(rows_before + i, weight_before) + 1.0
        weight_before += weight[i]
    for i in range(n):
        most[i] = log_normal(most[i])
    for e in range(experts):
        if outputs == 1:
            for i in range(n):
                z = raws[e, i, 0]
                raws[e, i, 0] = min(max(z, -most[i]), most[i]) if z == z else 0.0
            continue
        for i in range(n):
            top = -math.inf
            for k in range(outputs):
                z = raws[e, i, k]
                raws[e, i, k] = min(max(z, -1e300), 1e300) if z == z else 0.0
                top = max(top, raws[e, i, k])
            for k in range(outputs):
                raws[e, i, k] = max(raws[e, i, k], top - most[i])


@_compiled
def _update(weights, likelihood, i, switching):  # type: ignore[no-untyped-def]
    """Bayes' rule for row i, then fixed share: the fraction `switching` of all weight is spread evenly."""
    total = 0.0
    for e in range(len(weights)):
        weights[e] *= likelihood[e, i]
        total += weights[e]
    keep, even = (1.0 - switching) / total, switching / len(weights)
    for e in range(len(weights)):
        weights[e] = keep * weights[e] + even


@_compiled
def mix(  # type: ignore[no-untyped-def]
    raws, target, weight, switching_rates, rows_before, expert_weights, mixture_weights, recent_weights, raw, loss
):
    """Average the experts' predictions of each row by their weights before that row; then update the weights.

    raws (experts, n, outputs): the experts' raw predictions. switching_rates (m,): one for each mixture; 0 stands for
    1 / (number of rows so far), rows_before being the number of rows before these. expert_weights (m, experts) within
    each mixture and mixture_weights (m,) are updated in place, and so is recent_weights (experts,): the experts'
    overall weights averaged over about the last `RECENT` rows, which a single row does not move much.
    Sets raw (n, outputs) to the averaged predictions and loss (n,) to their losses.
    """
    experts, n, outputs = raws.shape
    mixtures = len(switching_rates)
    by_expert = np.empty((experts, n))
    mixed, by_mixture = np.zeros((mixtures, n, outputs)), np.empty((mixtures, n))
    for e in range(experts):
        losses(raws[e], target, by_expert[e])
    likelihoods(by_expert, weight)
    weights_after = np.empty((mixtures, n, experts))
    for m in range(mixtures):
        for i in range(n):
            for k in range(outputs):
                z = 0.0
                for e in range(experts):
                    z += expert_weights[m, e] * raws[e, i, k]
                mixed[m, i, k] = z
            if weight[i] > 0.0:
                switching = switching_rates[m] if switching_rates[m] > 0.0 else 1.0 / (2.0 + rows_before + i)
                _update(expert_weights[m], by_expert, i, switching)
            for e in range(experts):
                weights_after[m, i, e] = expert_weights[m, e]
    for m in range(mixtures):
        losses(mixed[m], target, by_mixture[m])
    likelihoods(by_mixture, weight)
    for i in range(n):
        for k in range(outputs):
            z = 0.0
            for m in range(mixtures):
                z += mixture_weights[m] * mixed[m, i, k]
            raw[i, k] = z
        if weight[i] > 0.0:
            _update(mixture_weights, by_mixture, i, 1.0 / (2.0 + rows_before + i))
            step = 1.0 / min(1.0 + rows_before + i, RECENT)
            for e in range(experts):
                now = 0.0
                for m in range(mixtures):
                    now += mixture_weights[m] * weights_after[m, i, e]
                recent_weights[e] += (now - recent_weights[e]) * step
    losses(raw, target, loss)
