"""The steps of a run that reads every row once: what columns hold from the first rows, then a stream to its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchlogit.cli.printed import Run

if TYPE_CHECKING:
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.data.encoding.encoder import Encoder, EncoderOptions
    from torchlogit.data.plan import Plan
    from torchlogit.data.reading.source import Source
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import Label, LogisticModel
    from torchlogit.streaming.loop import StreamProgress

FIRST_ROWS = 100_000  # that say what columns hold, unless others are asked for


def streamed(
    source: Source, options: EncoderOptions, plan: Plan, classifier: LogisticRegression, path: Path, notices: list[str]
) -> Run:
    """A model of one pass over the source."""
    from torchlogit.data.learning import learn_table

    plan = replace(plan, sample_rows=plan.sample_rows or FIRST_ROWS)
    learned = learn_table(source, options, plan)
    classes = learned.classes.classes
    return _passed(source, learned.encoder, classes, plan, classifier, path, [*notices, *learned.warnings])


def updated(
    model: LogisticModel, source: Source, plan: Plan, classifier: LogisticRegression, path: Path, notices: list[str]
) -> Run:
    """A saved model, after these rows too."""
    from torchlogit.errors import InputError
    from torchlogit.estimator import go_on

    if model.encoder is None:
        raise InputError("the model was trained on an array, not on a table; go on from Python, with partial_fit")
    classifier.set_params(l1=model.facts.penalty["l1"], l2=model.facts.penalty["l2"])
    go_on(model, classifier)
    return _passed(source, model.encoder, model.classes, plan, classifier, path, notices)


def _passed(
    source: Source,
    encoder: Encoder,
    classes: Sequence[Label],
    plan: Plan,
    classifier: LogisticRegression,
    path: Path,
    notices: list[str],
) -> Run:
    import numpy as np

    from torchlogit.cli.fitting import finished
    from torchlogit.data.encoding.row_warnings import messages
    from torchlogit.data.preparation import Reading
    from torchlogit.estimator import learn_blocks

    reading, counts = Reading(source, encoder, classes, plan), np.zeros(len(classes), np.int64)

    def blocks() -> Iterator[EncodedRows]:
        for block in reading.blocks():
            rows = reading.encoded(block)
            counts[:] += np.bincount(rows.codes, minlength=len(classes))
            yield rows

    monitors = [_Progress()] if classifier.verbose else []
    learn_blocks(classifier, blocks(), encoder.n_features, len(classes), monitors)
    model = finished(encoder, classifier, classes, plan, path)
    told = (*notices, *source.notices, *messages(reading.warnings))
    return Run(source.files, model, classifier, counts.tolist(), {}, str(path), told)


class _Progress:
    """A line on standard error whenever the rows have doubled."""

    def __init__(self) -> None:
        self.next = 1

    def __call__(self, passed: StreamProgress) -> None:
        if passed.rows < self.next:
            return
        if self.next == 1:
            click.echo(f"{'rows':>12} {'seconds':>9} {'log loss':>10} {'of late':>10}", err=True)
        self.next = 2 * passed.rows
        seen = passed.progressive
        click.echo(
            f"{passed.rows:>12,} {passed.seconds:>9.1f} {seen.log_loss:>10.5f} {seen.recent_log_loss:>10.5f}", err=True
        )
        sys.stderr.flush()
