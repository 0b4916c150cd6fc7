"""The progress of a fit on standard error."""

from __future__ import annotations

import sys

from torchlogit.records import FitProgress, Monitor


def progress_line(total_weight: float) -> Monitor[FitProgress]:
    """A monitor that rewrites one line on standard error after each step. total_weight: the weight of all rows."""

    def show(progress: FitProgress) -> None:
        step = progress.step
        bound = "no bound yet" if step.bound is None else f"proven within {step.bound / total_weight:.1e}"
        objective = step.objective / total_weight
        line = f"pass {step.passes:.1f}  {step.seconds:.1f} s  objective {objective:.8f}  {bound}"
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)

    return show
