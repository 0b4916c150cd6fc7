"""Compiled loops that write encoded columns into the rows of a sparse matrix."""

from __future__ import annotations

from numba import njit

_compiled = njit(nogil=True, cache=True)


@_compiled
def put(fixed, place_of, places, value_of, values, next_entry, indices, data):  # type: ignore[no-untyped-def]
    """Writes one-hot columns into CSR arrays: row i's entries start at next_entry[i], which is advanced past them.

    Column k's feature in row i is places[place_of[k], i], or fixed[k] if place_of[k] is negative; the row has no entry
    for the column if the feature is negative. Its value is values[value_of[k], i], or 1 if value_of[k] is negative.
    """
    for i in range(len(next_entry)):
        at = next_entry[i]
        for k in range(len(fixed)):
            place = fixed[k] if place_of[k] < 0 else places[place_of[k], i]
            if place >= 0:
                indices[at] = place
                data[at] = 1.0 if value_of[k] < 0 else values[value_of[k], i]
                at += 1
        next_entry[i] = at


@_compiled
def merge(places, values):  # type: ignore[no-untyped-def]
    """Sorts each column of places with its values. Of equal places the last gets the sum, the others become -1."""
    k, n = places.shape
    for i in range(n):
        for j in range(1, k):
            place, value, at = places[j, i], values[j, i], j
            while at > 0 and places[at - 1, i] > place:
                places[at, i], values[at, i] = places[at - 1, i], values[at - 1, i]
                at -= 1
            places[at, i], values[at, i] = place, value
        for j in range(k - 1):
            if places[j, i] == places[j + 1, i]:
                values[j + 1, i] += values[j, i]
                places[j, i] = -1
