"""The options of `torchlogit train` as one record, from which Plan, EncoderOptions and Settings are made."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from torchlogit.cli.options import refuse_overwriting, source, split

if TYPE_CHECKING:
    from torchlogit.data.encoding.learn_encoder import EncoderOptions
    from torchlogit.data.plan import Plan
    from torchlogit.data.reading.source import Source
    from torchlogit.training.settings import Settings

# The solvers for which numbers are encoded as they are where there is no penalty; the others need columns of one scale.
AS_GIVEN = ("auto", "newton")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The options of the command line, by name; None for an option without default that was not given."""

    data: tuple[str, ...]
    target: str | None
    output: str | None
    valid: tuple[str, ...]
    holdout: float | None
    l1: float
    l2: float | Literal["auto"]
    tol: float
    max_iter: float
    time_budget: str | None
    solver: str
    weight: str | None
    class_weight: Literal["balanced"] | None
    positive: str | None
    drop: str | None
    numeric: str | None
    categorical: str | None
    text: str | None
    cross: tuple[str, ...]
    hash_bits: int | None
    no_header: bool
    names: str | None
    sample_rows: int | None
    cache: str | None
    no_cache: bool
    checkpoint: str | None
    update: str | None
    resume: bool
    seed: int
    threads: int | None
    device: str
    require_certificate: bool
    as_json: bool
    quiet: bool

    def check(self) -> None:
        """Raises an error, before any work, for contradictory options and for a model file that cannot be written."""
        if self.valid and self.holdout is not None:
            raise click.UsageError("--valid and --holdout both say what to measure on; give one of them.")
        _seconds(self.time_budget)
        _check_writable(self.model_path)
        refuse_overwriting(self.model_path, (*self.data, *self.valid))

    @property
    def model_path(self) -> Path:
        """The model file to write."""
        return Path(self.output or self.update or _stem(self.data[0]) + ".safetensors")

    @property
    def show_progress(self) -> bool:
        """Whether progress is shown: standard error is a terminal, and --quiet was not given."""
        return sys.stderr.isatty() and not self.quiet

    @property
    def roles(self) -> dict[str, list[str]]:
        """The columns that --numeric, --categorical, --drop and --text name."""
        given = {"numeric": self.numeric, "categorical": self.categorical, "drop": self.drop, "text": self.text}
        return {option: split(names) for option, names in given.items()}

    def source(self) -> Source:
        """The rows of DATA."""
        return source(self.data, self.no_header, self.names)

    def validation_source(self) -> Source | None:
        """The rows of --valid."""
        return source(self.valid, self.no_header, self.names) if self.valid else None

    def target_in(self, table: Source, default: str | None = None) -> str:
        """The column to predict: the label of svmlight files, or the column given, or else the default."""
        given, own = self.target or default, table.target
        if own is not None and given not in (None, own):
            raise click.UsageError(
                f"--target {given}: the target of svmlight files is their label; leave --target out."
            )
        target = own or given
        if target is None:
            raise click.UsageError("Missing option '--target': the column to predict.")
        return target

    def plan(self, target: str) -> Plan:
        """The plan: the columns of targets and weights, and the rows that are held out."""
        from torchlogit.data.plan import Plan

        _refuse_target_among(target, self.roles)
        return Plan(target, self.positive, self.weight, self.holdout, self.seed, self.sample_rows)

    def encoder_options(self) -> EncoderOptions:
        """The options of the encoder.

        Without a penalty numbers are encoded as they are: the scale of a column then makes no difference, and columns
        that are combinations of others stay so.
        """
        from torchlogit.data.encoding.learn_encoder import EncoderOptions

        no_penalty = not self.l1 and self.l2 == 0 and self.solver in AS_GIVEN
        return EncoderOptions(**self.roles, crosses=self.cross, hash_bits=self.hash_bits, standardize=not no_penalty)

    def settings(self) -> Settings:
        """The settings of the fit."""
        from torchlogit.training.settings import Settings

        return Settings(
            l1=self.l1,
            l2=self.l2,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            time_budget=_seconds(self.time_budget),
            class_weight=self.class_weight,
            device=self.device,
            seed=self.seed,
            verbose=self.show_progress,
        )


def _refuse_target_among(target: str, roles: Mapping[str, Sequence[str]]) -> None:
    """Raises UsageError if an option about features names the target."""
    for option, names in roles.items():
        if target in names:
            raise click.UsageError(
                f"{target!r} is the target, and --{option} is about features; take it out of --{option}."
            )


def _seconds(text: str | None) -> float | None:
    """The number of seconds in a text such as 60, 60s, 5m or 1h; BadParameter for any other text."""
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r}: expected a time such as 60, 60s, 5m or 1h.", param_hint="--time-budget")
    return seconds


def _stem(name: str) -> str:
    """A file's name without its suffixes; "model" for globs, queries and standard input, which have no such name.

    >>> _stem("data/people.csv.gz"), _stem("data/*.csv"), _stem("sql:SELECT 1"), _stem("-")
    ('people', 'model', 'model', 'model')
    """
    stem = Path(name).name.split(".")[0]
    return stem if stem.strip("-") and not set(stem) & set("*?[:") else "model"


def _check_writable(path: Path) -> None:
    from torchlogit.errors import InputError

    folder = path.parent
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the model file to write")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it, or write elsewhere with -o")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: the folder {folder} cannot be written to; write elsewhere with -o")
