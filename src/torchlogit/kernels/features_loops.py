"""The loop that writes encoded columns into the rows of a sparse matrix."""

from __future__ import annotations

from numba import njit

_compiled = njit(nogil=True, cache=True)


@_compiled
def put(fixed, place_of, places, value_of, values, next_entry, indices, data):  # type: ignore[no-untyped-def]
    """Row i's entries go to next_entry[i] and after it, which moves on.

    Column k's is at places[place_of[k], i], none where that is negative; at fixed[k] where place_of[k] is negative.
    Its value is values[value_of[k], i], or 1 where value_of[k] is negative.
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
