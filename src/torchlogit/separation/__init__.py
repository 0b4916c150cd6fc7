"""Separation: does F have a finite minimum, and if not, which coefficients go to infinity?

Without a penalty F has no finite minimum exactly when some direction V (p, n_outputs) separates the classes: for every
row i of positive weight, every class y that its target gives a positive probability, and every other class k,

    x_i' (v_y - v_k) >= 0,    and > 0 for some row and pair of classes

(Albert and Anderson 1984, doi:10.1093/biomet/71.1.1; a target with several classes counts as a row for each of them, so
that their values along V are equal). Along V F falls without end. The size of weights plays no role. v_j is zero where
a penalty or bounds limit a coefficient, and has one sign where it may grow on that side only.

`search.py` finds V by linear programs over few rows (`programs.py`), whose solutions are approximate, and turns it into
integers for which the inequalities hold without any rounding, on all rows (`directions.py`): nothing less counts as
separation. `infinite.py` finds the coefficients that go to infinity, whatever the way in which F goes to its infimum.
"""

from torchlogit.separation.search import all_classified, find_separation

__all__ = ["all_classified", "find_separation"]
