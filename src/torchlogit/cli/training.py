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

from torchlogit.cli.rows import measure

if TYPE_CHECKING:
    from torchlogit.arrays import Storage
    from torchlogit.checkpoints import Checkpoints
    from torchlogit.cli.summary import Run
    from torchlogit.data.encoder import TableEncoder
    from torchlogit.data.preparation import Plan, Prepared
    from torchlogit.data.source import Source
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import LogisticModel
    from torchlogit.records import Certificate

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
    def asked(cls, model: Path, *, cache: str | None, checkpoint: str | None, resume: bool, anew: bool) -> Keeping:
        """What the options ask for; usage errors for those that contradict each other."""
        if anew and cache is not None:
            raise click.UsageError("--cache keeps encoded rows and --no-cache keeps none; give one of them.")
        if resume and checkpoint is None:
            raise click.UsageError("--resume goes on from a checkpoint; name its folder with --checkpoint.")
        # What is called temporary may lie in memory: the model's folder is on a disk.
        scratch = Path(os.environ["TMPDIR"]) if os.environ.get("TMPDIR") else model.resolve().parent
        return cls(scratch, Path(cache) if cache else None, Path(checkpoint) if checkpoint else None, resume, anew)

    def refuse_for_streams(self, plan: Plan, valid: Sequence[str]) -> None:
        """Usage errors for what a single reading has no use for."""
        asked = {
            "--holdout": plan.holdout is not None,
            "--valid": bool(valid),
            "--cache": self.cache is not None,
            "--no-cache": self.anew,
            "--checkpoint": self.checkpoint is not None,
        }
        for option in (option for option, given in asked.items() if given):
            why = "each row is measured before it is learned from" if option in ("--holdout", "--valid") else "go on"
            remedy = "with --update MODEL" if why == "go on" else "use evaluate for other rows"
            raise click.UsageError(f"{option}: --solver streaming reads every row once; {why}: {remedy}.")

    def storage(self, size: int | None) -> Storage:
        """Where so many bytes are to live; None: perhaps a great many."""
        from torchlogit.arrays import IN_MEMORY, OnDisk

        if size is not None and size <= FEW:
            return IN_MEMORY
        folder = self.cache or self.checkpoint or self.scratch
        told = "go into" if size is None else f"take {size / 1e9:.1f} GB, in"
        click.echo(f"torchlogit: the encoded rows {told} files in {folder}", err=True)
        return OnDisk(folder)

    @contextmanager
    def rows(self, source: Source, encoder: TableEncoder, plan: Plan) -> Iterator[Prepared]:
        """The source's rows, ready to train on."""
        from torchlogit.data.cache import Cache
        from torchlogit.data.preparation import prepare
        from torchlogit.storage import locked

        folder = self.cache or self.checkpoint
        if folder is None or self.anew:
            yield prepare(source, encoder, plan, None if self.anew else self.storage)
            return
        with locked(folder / "rows.lock"):
            cache = Cache(folder)
            yield cache.prepared(source, encoder, plan)
            if self.cache is None:
                cache.clear()

    def vectors(self, prepared: Prepared) -> Storage:
        """Where vectors as long as the rows live: where the rows do."""
        from torchlogit.arrays import IN_MEMORY, OnDisk
        from torchlogit.data.preparation import bytes_of

        size = bytes_of(prepared.encoder, len(prepared.train))
        return IN_MEMORY if size <= FEW else OnDisk(self.cache or self.checkpoint or self.scratch)

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
    part, _ = encode(others, prepared.encoder, prepared.classes.classes, all_of_it, keeping.storage(0))
    notices = [*others.notices, *(f"{others.files}: {notice}" for notice in part.notices)]
    return replace(prepared, held=part.rows()), notices


def trained(
    source: Source,
    others: Source | None,
    encoder: TableEncoder,
    plan: Plan,
    classifier: LogisticRegression,
    keeping: Keeping,
    path: Path,
    notices: list[str],
) -> Run:
    """Prepares, fits, saves and measures."""
    with keeping.rows(source, encoder, plan) as prepared:
        notices = [*notices, *source.notices, *prepared.notices]
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
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline

    from torchlogit.cli.summary import Run
    from torchlogit.estimator import fit_rows, save, table_rows, to_model

    encoder, totals, train = prepared.encoder, prepared.classes, prepared.train
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore", ConvergenceWarning)  # told below, with the features' names
        rows = table_rows(train, len(totals.classes), classifier.class_weight)
        fit_rows(classifier, rows, keeping.vectors(prepared), keeping.checkpoints(source))
    classifier.feature_names_in_ = encoder.get_feature_names_out()
    classifier.classes_ = np.array(totals.classes, dtype=object)
    fitted = make_pipeline(encoder, classifier)
    save(fitted, path, target=plan.target)
    model, certificate = to_model(fitted, target=plan.target), classifier.certificate_
    measured = {"train": train} | ({"valid": prepared.held} if prepared.held is not None else {})
    return Run(
        files=source.files,
        model=model,
        classifier=classifier,
        counts=totals.counts.tolist(),
        metrics={name: measure(model, rows) for name, rows in measured.items()},
        path=str(path),
        warnings=(*notices, *(str(warning.message) for warning in told), *_explained(certificate, model)),
    )


def _explained(certificate: Certificate, model: LogisticModel) -> list[str]:
    """What to make of an answer that is not certified."""
    from torchlogit.estimator import explain
    from torchlogit.records import Status

    certified = certificate.status is Status.CERTIFIED
    return [] if certified else [explain(certificate, model.feature_names, model.outputs)]
