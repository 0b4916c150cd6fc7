"""What the commands take and say of the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torchlogit.training.fitted import Fitted


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


def chosen(fitted: Fitted) -> list[str]:
    """How l2 was chosen, and what it should cost on rows not seen; nothing where it was given."""
    if fitted.path is None or fitted.chosen_by is None:
        return []
    from torchlogit.path import MEASURE_NAMES

    l2, measure = fitted.penalty.l2, MEASURE_NAMES[fitted.chosen_by]
    point = next(point for point in fitted.path if point.l2 == l2)
    return [
        f"l2           {l2:g}, chosen by {measure} among {len(fitted.path)}: "
        f"log loss {point.loss:.4f} +- {point.standard_error:.4f} on rows not seen"
    ]
