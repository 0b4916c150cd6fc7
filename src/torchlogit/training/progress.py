"""The progress of a fit on standard error."""

from __future__ import annotations

import sys

from torchlogit.records import FitProgress


class ProgressLine:
    """A monitor that rewrites one line on standard error after each step."""

    def __init__(self, total_weight: float) -> None:
        self.total_weight = total_weight

    def __call__(self, progress: FitProgress) -> bool:
        """Rewrites the line."""
        step = progress.step
        bound = "no bound yet" if step.bound is None else f"proven within {step.bound / self.total_weight:.1e}"
        objective = step.objective / self.total_weight
        line = f"pass {step.passes:.1f}  {step.seconds:.1f} s  objective {objective:.8f}  {bound}"
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        return False

    def end(self) -> None:
        """Ends the line."""
        print(file=sys.stderr)
