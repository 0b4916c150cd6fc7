"""The steps of a run that reads every row once: what columns hold from the first rows, then a stream to its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from torchlogit.cli.summary import Run
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.data.encoder import TableEncoder
    from torchlogit.data.preparation import Plan
    from torchlogit.data.remarks import Remarks
    from torchlogit.data.source import Source
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import Label, LogisticModel
    from torchlogit.stream import Passed

FIRST_ROWS = 100_000  # that say what columns hold, unless others are asked for


@dataclass(slots=True)
class Reading:
    """One reading of a source, encoded; what deserved a look, and how many rows there were of each class."""

    source: Source
    encoder: TableEncoder
    classes: Sequence[Label]
    plan: Plan
    counts: list[int] = field(default_factory=list)
    remarks: Remarks = ()

    def blocks(self) -> Iterator[EncodedRows]:
        """The rows."""
        import numpy as np

        from torchlogit.data.ahead import ahead
        from torchlogit.data.encoded_rows import EncodedRows
        from torchlogit.data.labels import check_labels
        from torchlogit.data.preparation import pieces_of
        from torchlogit.data.remarks import added
        from torchlogit.data.weights import weights_in
        from torchlogit.errors import DataError

        self.counts = [0] * len(self.classes)
        try:
            for piece in ahead(pieces_of(self.source, self.encoder, self.plan.own_columns)):
                with piece.blamed():
                    codes = check_labels(piece.table, self.plan.target, self.classes)
                    weight = None if self.plan.weight is None else weights_in(piece.table, self.plan.weight)
                    encoded = self.encoder.encode(piece.table)
                self.remarks = added(self.remarks, encoded.remarks) if self.remarks else encoded.remarks
                found = np.bincount(codes, minlength=len(self.classes)).tolist()
                self.counts = [one + more for one, more in zip(self.counts, found, strict=True)]
                yield EncodedRows(encoded.values, codes, weight)
        except DataError as error:
            raise error.located(self.source.files) from None


def streamed(
    source: Source, encoder: TableEncoder, plan: Plan, classifier: LogisticRegression, path: Path, notices: list[str]
) -> Run:
    """A model of one pass over the source."""
    from torchlogit.data.learning import learn_table

    plan = replace(plan, sample_rows=plan.sample_rows or FIRST_ROWS)
    learned = learn_table(
        source,
        encoder,
        target=plan.target,
        positive=plan.positive,
        weight=plan.weight,
        sample_rows=plan.sample_rows,
    )
    return _passed(source, encoder, learned.classes.classes, plan, classifier, path, [*notices, *learned.notices])


def updated(
    model: LogisticModel, source: Source, plan: Plan, classifier: LogisticRegression, path: Path, notices: list[str]
) -> Run:
    """A saved model, after these rows too."""
    from torchlogit.errors import InputError
    from torchlogit.estimator import go_on

    if model.encoder is None:
        raise InputError("the model was trained on an array, not on a table; go on from Python, with partial_fit")
    go_on(model, classifier)
    return _passed(source, model.encoder, model.classes, plan, classifier, path, notices)


def _passed(
    source: Source,
    encoder: TableEncoder,
    classes: Sequence[Label],
    plan: Plan,
    classifier: LogisticRegression,
    path: Path,
    notices: list[str],
) -> Run:
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from torchlogit.cli.summary import Run
    from torchlogit.data.remarks import sentences
    from torchlogit.estimator import learn_blocks, save, to_model

    reading = Reading(source, encoder, classes, plan)
    progress = _Progress() if classifier.verbose else None
    learn_blocks(classifier, reading.blocks(), len(encoder.schema_.feature_names), len(classes), progress)
    classifier.n_features_in_ = len(encoder.schema_.feature_names)
    classifier.feature_names_in_ = encoder.get_feature_names_out()
    classifier.classes_ = np.array(classes, dtype=object)
    fitted = make_pipeline(encoder, classifier)
    save(fitted, path, target=plan.target)
    return Run(
        files=source.files,
        model=to_model(fitted, target=plan.target),
        classifier=classifier,
        counts=reading.counts,
        metrics={},
        path=str(path),
        warnings=(*notices, *source.notices, *sentences(reading.remarks)),
    )


class _Progress:
    """A line on standard error whenever the rows have doubled."""

    def __init__(self) -> None:
        self.next = 1

    def __call__(self, passed: Passed) -> None:
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
