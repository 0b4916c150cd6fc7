"""torchlogit inspect: the contents of a model file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from torchlogit.cli.options import MODEL

if TYPE_CHECKING:
    from torchlogit.model import LogisticModel


@click.command("inspect")
@MODEL
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def command(model: str, as_json: bool) -> None:
    """Show MODEL: its certificate, its columns, and its coefficients in the table's own units.

    A numeric column's coefficient is per unit of the column; a level's is for its presence. The odds ratio is
    e^coefficient; with several classes it is for a class against the geometric mean of all. Standard errors are shown
    where they are valid: without a penalty and class weights, certified, not separated. Where all levels of a column
    have coefficients, the data determine the differences between levels only, which are shown with their errors.

    Example: torchlogit inspect people.safetensors
    """
    from torchlogit.model import LogisticModel
    from torchlogit.summary import summary

    loaded = LogisticModel.load(model)
    if as_json:
        click.echo(json.dumps(_as_json(loaded), ensure_ascii=False, allow_nan=False))
    else:
        click.echo(summary(loaded, elsewhere="--json gives"))


def _as_json(model: LogisticModel) -> dict[str, Any]:
    from torchlogit.data.encoding.schema import schema_to_json

    intercepts, coefficients = model.in_original_units()
    return {
        "classes": list(model.classes),
        "facts": asdict(model.facts),
        "schema": None if model.encoder is None else schema_to_json(model.encoder.schema),
        "coefficients": [_finite(asdict(line)) for line in [*intercepts, *coefficients]],
        "contrasts": [_finite(asdict(line)) for line in model.contrasts()],
    }


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """The record with None in place of infinite numbers, which JSON does not have; an odds ratio may be infinite."""
    return {key: None if value in (math.inf, -math.inf) else value for key, value in record.items()}
