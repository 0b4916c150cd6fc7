"""The steps of a training run: rows made ready, kept where they are many, fitted, measured, saved."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchlogit.cli.measuring import measure

if TYPE_CHECKING:
    from torchlogit.checkpoints import Checkpoints
    from torchlogit.cli.printed import Run
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.data.encoding.encoder import Encoder, EncoderOptions
    from torchlogit.data.plan import Plan
    from torchlogit.data.preparation import Prepared
    from torchlogit.data.reading.source import Source
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import Label, LogisticModel
    from torchlogit.records import Certificate
    from torchlogit.storage import Storage, TemporaryArrays

FEW = 256 << 20  # bytes of encoded rows that are kept in memory


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a run keeps what it needs: encoded rows, vectors as long as they are, checkpoints.

    scratch: a folder for what is gone when the process ends. cache: a folder that encoded rows stay in. checkpoint: one
    for all that a killed run goes on from. anew: encoded rows are kept nowhere.
    """

    scratch: Path
    cache: Path | None = None
    checkpoint: Path | None = None
    resume: bool = False
    anew: bool = False

    @classmethod
    def asked(
        cls, model: Path, solver: str, *, cache: str | None, checkpoint: str | None, resume: bool, anew: bool
    ) -> Keeping:
        """What the options ask for; usage errors for those that contradict each other."""
        if anew and cache is not None:
            raise click.UsageError("--cache keeps encoded rows and --no-cache keeps none; give one of them.")
        if anew and solver in ("dual", "sgd"):
            raise click.UsageError(f"--no-cache reads all rows for a pass, and {solver} goes by few; leave it out.")
        if resume and checkpoint is None:
            raise click.UsageError("--resume goes on from a checkpoint; name its folder with --checkpoint.")
        # What is called temporary may lie in memory: the model's folder is on a disk.
        scratch = Path(os.environ["TMPDIR"]) if os.environ.get("TMPDIR") else model.resolve().parent
        return cls(scratch, Path(cache) if cache else None, Path(checkpoint) if checkpoint else None, resume, anew)

    def refuse_for_streams(self, plan: Plan, valid: Sequence[str]) -> None:
        """Usage errors for what a single reading has no use for."""
        measured = "predicts every row before it learns from it; leave it out, and use evaluate for other rows"
        kept = "reads every row once and keeps none; leave it out, and go on with --update MODEL"
        asked = {
            "--holdout": (plan.holdout is not None, measured),
            "--valid": (bool(valid), measured),
            "--cache": (self.cache is not None, kept),
            "--no-cache": (self.anew, kept),
            "--checkpoint": (self.checkpoint is not None, kept),
        }
        for option, (given, why) in asked.items():
            if given:
                raise click.UsageError(f"{option}: --solver streaming {why}.")

    @property
    def folder(self) -> Path:
        """Where files go."""
        return self.cache or self.checkpoint or self.scratch

    def arrays(self) -> TemporaryArrays:
        """Where encoded rows are stored: in RAM, if they are few."""
        from torchlogit.storage import TemporaryArrays

        return TemporaryArrays(self.folder, FEW)

    @contextmanager
    def rows(self, source: Source, options: EncoderOptions, plan: Plan) -> Iterator[Prepared]:
        """The source's rows, ready to train on."""
        from torchlogit.atomic import locked
        from torchlogit.data.cache import Cache
        from torchlogit.data.preparation import prepare

        if self.anew:
            yield prepare(source, options, plan, None)
            return
        if self.folder is self.scratch:
            arrays = self.arrays()
            prepared = prepare(source, options, plan, arrays)
            if arrays.spilled:
                told = f"the encoded rows take {arrays.n_bytes / 1e9:.1f} GB, in files in {self.folder}"
                click.echo(f"torchlogit: {told}, gone at the end", err=True)
            yield prepared
            return
        with locked(self.folder / "rows.lock"):
            cache = Cache(self.folder)
            yield cache.prepared(source, options, plan)
            if self.cache is None:
                cache.clear()

    def vectors(self, rows: EncodedRows) -> Storage:
        """Where vectors as long as the rows live: where the rows do."""
        from torchlogit.storage import IN_MEMORY, MappedFiles

        return IN_MEMORY if rows.nbytes <= FEW else MappedFiles(self.folder)

    def checkpoints(self, source: Source) -> Checkpoints | None:
        """Those of the fit."""
        if self.checkpoint is None:
            return None
        from torchlogit.checkpoints import Checkpoints

        return Checkpoints(self.checkpoint, resume=self.resume, data=source.fingerprint())


def with_others(prepared: Prepared, others: Source, plan: Plan, keeping: Keeping) -> tuple[Prepared, list[str]]:
    """The rows with others to measure on, encoded alike; what deserves a look in those."""
    from torchlogit.data.preparation import encode

    all_of_it = replace(plan, holdout=None)
    part, _ = encode(others, prepared.encoder, prepared.classes.classes, all_of_it, keeping.arrays())
    notices = [*others.warnings, *(f"{others.files}: {notice}" for notice in part.warnings)]
    return replace(prepared, held=part.rows()), notices


def trained(
    source: Source,
    others: Source | None,
    options: EncoderOptions,
    plan: Plan,
    classifier: LogisticRegression,
    keeping: Keeping,
    path: Path,
    notices: list[str],
) -> Run:
    """Prepares, fits, saves and measures."""
    with keeping.rows(source, options, plan) as prepared:
        notices = [*notices, *source.warnings, *prepared.warnings]
        if others is not None:
            prepared, seen = with_others(prepared, others, plan, keeping)
            notices += seen
        return _fitted(source, classifier, prepared, plan, keeping, path, notices)


def _fitted(
    source: Source,
    classifier: LogisticRegression,
    prepared: Prepared,
    plan: Plan,
    keeping: Keeping,
    path: Path,
    notices: list[str],
) -> Run:
    from sklearn.exceptions import ConvergenceWarning

    from torchlogit.cli.printed import Run
    from torchlogit.estimator import fit_rows, table_rows

    encoder, totals, train = prepared.encoder, prepared.classes, prepared.train
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore", ConvergenceWarning)  # told below, with the features' names
        rows = table_rows(train, len(totals.classes), classifier.class_weight)
        fit_rows(classifier, rows, keeping.vectors(train), keeping.checkpoints(source))
    model = finished(encoder, classifier, totals.classes, plan, path)
    measured = {"train": train} | ({"valid": prepared.held} if prepared.held is not None else {})
    return Run(
        files=source.files,
        model=model,
        classifier=classifier,
        counts=totals.counts.tolist(),
        metrics={name: measure(model, rows) for name, rows in measured.items()},
        path=str(path),
        warnings=(*notices, *(str(warning.message) for warning in told), *_explained(classifier.certificate_, model)),
    )


def finished(
    encoder: Encoder, classifier: LogisticRegression, classes: Sequence[Label], plan: Plan, path: Path
) -> LogisticModel:
    """The model, saved: the classifier knows its features by name from now on, and its classes."""
    import numpy as np

    from torchlogit.estimator import model_of

    classifier.n_features_in_ = encoder.n_features
    classifier.feature_names_in_ = np.array(encoder.schema.feature_names, dtype=object)
    classifier.classes_ = np.array(classes, dtype=object)
    model = model_of(classifier, encoder, target=plan.target)
    model.save(path)
    return model


def _explained(certificate: Certificate, model: LogisticModel) -> list[str]:
    """What to make of an answer that is not certified."""
    from torchlogit.estimator import explain
    from torchlogit.records import Status

    certified = certificate.status is Status.CERTIFIED
    return [] if certified else [explain(certificate, model.feature_names, model.outputs)]
