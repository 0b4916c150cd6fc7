"""What the commands take and say of the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torchlogit.estimator import LogisticRegression


class Strength(click.FloatRange):
    """A number that is not negative, or auto."""

    name = "NUMBER|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or auto."""
        if value == "auto":
            return value
        try:
            return super().convert(float(value), param, ctx)
        except ValueError:
            self.fail(f"{value!r}: expected a number that is not negative, or auto.", param, ctx)


def chosen(classifier: LogisticRegression) -> list[str]:
    """How l2 was chosen, and what it should cost on rows not seen; nothing where it was given."""
    if not hasattr(classifier, "path_"):
        return []
    from torchlogit.path import MEASURE_NAMES

    point = next(point for point in classifier.path_ if point.l2 == classifier.l2_)
    measure = MEASURE_NAMES[classifier.chosen_by_]
    return [
        f"l2           {classifier.l2_:g}, chosen by {measure} among {len(classifier.path_)}: "
        f"log loss {point.loss:.4f} +- {point.standard_error:.4f} on rows not seen"
    ]
