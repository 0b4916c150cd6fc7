"""Trains on a table in one pass: the encoder is learned from its first rows, then each row is used once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import numpy as np

from torchlogit.cli.printed import TrainReport
from torchlogit.cli.train_options import TrainOptions
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.row_warnings import messages
from torchlogit.data.labels import Label
from torchlogit.data.learn_table import learn_table
from torchlogit.data.plan import Plan
from torchlogit.data.preparation import RowEncoder
from torchlogit.data.reading.source import Source
from torchlogit.errors import InputError
from torchlogit.model import LogisticModel

if TYPE_CHECKING:
    from torchlogit.streaming.loop import StreamProgress
    from torchlogit.training.fitted import StartingPoint
    from torchlogit.training.rows import LabelledRows
    from torchlogit.training.settings import Settings

# The encoder and the classes are learned from this number of first rows, unless --sample-rows is given. More rows find
# more levels, and take longer.
FIRST_ROWS = 100_000


def stream_table(options: TrainOptions, source: Source, plan: Plan, warnings: Sequence[str]) -> TrainReport:
    """Trains on the source's rows, each read once, and writes the model file. warnings: from earlier steps."""
    plan = replace(plan, sample_rows=plan.sample_rows or FIRST_ROWS)
    learned = learn_table(source, options.encoder_options(), plan)
    warnings = [*warnings, *learned.warnings]
    return _train(options, options.settings(), source, learned.encoder, learned.classes.classes, None, plan, warnings)


def update_model(options: TrainOptions, source: Source, warnings: Sequence[str]) -> TrainReport:
    """Trains the model of --update further on the source's rows, each read once, and writes the model file."""
    from torchlogit.training.to_model import starting_point

    assert options.update is not None
    model = LogisticModel.load(options.update)
    plan = Plan(options.target_in(source, model.facts.target), weight=options.weight)
    if model.encoder is None:
        raise InputError("the model was trained on an array, not on a table; continue from Python, with partial_fit")
    penalty = model.facts.penalty
    settings = replace(options.settings(), l1=penalty["l1"], l2=penalty["l2"])
    return _train(options, settings, source, model.encoder, model.classes, starting_point(model), plan, warnings)


def _train(
    options: TrainOptions,
    settings: Settings,
    source: Source,
    encoder: Encoder,
    classes: tuple[Label, ...],
    start: StartingPoint | None,
    plan: Plan,
    warnings: Sequence[str],
) -> TrainReport:
    from torchlogit.training.one_pass import train_one_pass
    from torchlogit.training.rows import LabelledRows
    from torchlogit.training.to_model import to_model

    row_encoder, counts = RowEncoder(source, encoder, classes, plan), np.zeros(len(classes), np.int64)

    def blocks() -> Iterator[LabelledRows]:
        for block in row_encoder.blocks():
            rows = row_encoder.encoded(block)
            counts[:] += np.bincount(rows.codes, minlength=len(classes))
            yield LabelledRows.of_table(rows, classes)

    labels, monitors = np.array(classes, dtype=object), [_ProgressTable()] if options.show_progress else []
    fitted = train_one_pass(settings, blocks(), encoder.n_features, labels, start=start, monitors=monitors)
    model = to_model(fitted, encoder, target=plan.target)
    model.save(options.model_path)
    own = () if fitted.stream_warning is None else (fitted.stream_warning,)
    warnings = (*warnings, *source.warnings, *messages(row_encoder.warnings), *own)
    return TrainReport(source.files, model, fitted, counts.tolist(), {}, str(options.model_path), warnings)


class _ProgressTable:
    """A monitor that writes a line on standard error whenever the number of rows has doubled."""

    def __init__(self) -> None:
        self.next = 1

    def __call__(self, progress: StreamProgress) -> None:
        if progress.rows < self.next:
            return
        if self.next == 1:
            click.echo(f"{'rows':>12} {'seconds':>9} {'log loss':>10} {'recent':>10}", err=True)
        self.next = 2 * progress.rows
        errors = progress.progressive
        losses = f"{errors.log_loss:>10.5f} {errors.recent_log_loss:>10.5f}"
        click.echo(f"{progress.rows:>12,} {progress.seconds:>9.1f} {losses}", err=True)
        sys.stderr.flush()
