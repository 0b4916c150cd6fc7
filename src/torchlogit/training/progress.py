"""The progress of a fit on standard error."""

from __future__ import annotations

import sys

from torchlogit.records import FitProgress


def show_progress(progress: FitProgress) -> None:
    """A monitor that rewrites one line on standard error after each step."""
    step = progress.step
    bound = "no bound yet" if step.bound is None else f"proven within {step.bound:.1e}"
    line = f"pass {step.passes:.1f}  {step.seconds:.1f} s  objective {step.objective:.10g} nats  {bound}"
    print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
