"""The compiled sweep of coordinate descent on a quadratic with kinks and bounds; compiled at import, then cached."""

from __future__ import annotations

from numba import njit


@njit("f8(f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1])", nogil=True, cache=True)
def sweep(hessian, x, gradient, rates, lower, upper):  # type: ignore[no-untyped-def]
    """Minimises 1/2 x'Hx + ... + sum_j rates_j |x_j| within the bounds over one coordinate after the other.

    hessian: of unit diagonal. gradient: of the quadratic at x. Moves both in place; returns the largest change of x.
    """
    largest = 0.0
    for j in range(len(x)):
        peak = x[j] - gradient[j]
        new = max(peak - rates[j], 0.0) + min(peak + rates[j], 0.0)
        new = min(max(new, lower[j]), upper[j])
        change = new - x[j]
        if change != 0.0:
            x[j] = new
            for k in range(len(x)):
                gradient[k] += change * hessian[j, k]
            largest = max(largest, abs(change))
    return largest
