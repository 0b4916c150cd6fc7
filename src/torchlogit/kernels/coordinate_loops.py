"""The sweep of coordinate descent on a quadratic with l1 and bounds; compiled when first imported, then cached."""

from __future__ import annotations

from numba import njit


@njit("f8(f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1])", nogil=True, cache=True)
def sweep(hessian, x, gradient, rates, lower, upper):  # type: ignore[no-untyped-def]
    """Minimise a quadratic + sum_j rates_j |x_j| over lower <= x <= upper, one coordinate after the other.

    hessian: that of the quadratic, with a diagonal of ones. gradient: of the quadratic at x. Changes x and gradient in
    place, and returns the largest change of a coordinate.
    """
    largest = 0.0
    for j in range(len(x)):
        target = x[j] - gradient[j]
        new = max(target - rates[j], 0.0) + min(target + rates[j], 0.0)
        new = min(max(new, lower[j]), upper[j])
        change = new - x[j]
        if change != 0.0:
            x[j] = new
            for k in range(len(x)):
                gradient[k] += change * hessian[j, k]
            largest = max(largest, abs(change))
    return largest
