"""Workspace: the folders in which a training run stores encoded rows, other arrays and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchlogit.atomic import locked
from torchlogit.cli.train_options import TrainOptions
from torchlogit.data.cache import Cache
from torchlogit.data.encoded_rows import EncodedRows
from torchlogit.data.encoding.learn_encoder import EncoderOptions
from torchlogit.data.plan import Plan
from torchlogit.data.preparation import Prepared, prepare
from torchlogit.data.reading.source import Source
from torchlogit.storage import IN_MEMORY, Storage, TemporaryArrays

if TYPE_CHECKING:
    from torchlogit.checkpoints import Checkpoints

# The most bytes of encoded rows that are held in RAM. More bytes are stored in files, which is slower but bounds the
# memory.
MAX_BYTES_IN_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of a training run.

    scratch: folder of temporary files, which are removed at exit. cache: folder of encoded rows for later runs
    (--cache). checkpoint: folder of encoded rows and solver states, so that a killed run can resume (--checkpoint).
    resume: continue from the checkpoint. no_cache: do not store encoded rows; every pass reads and encodes the source
    again (--no-cache).
    """

    scratch: Path
    cache: Path | None = None
    checkpoint: Path | None = None
    resume: bool = False
    no_cache: bool = False

    @classmethod
    def of(cls, options: TrainOptions) -> Workspace:
        """The folders that the options name; raises UsageError for options that contradict each other."""
        if options.no_cache and options.cache is not None:
            raise click.UsageError("--cache keeps encoded rows and --no-cache keeps none; give one of them.")
        if options.no_cache and options.solver in ("dual", "sgd"):
            raise click.UsageError(
                f"--no-cache reads all rows for each step, but --solver {options.solver} uses few; leave it out."
            )
        if options.resume and options.checkpoint is None:
            raise click.UsageError("--resume continues from a checkpoint; name its folder with --checkpoint.")
        cache, checkpoint = (Path(folder) if folder else None for folder in (options.cache, options.checkpoint))
        # /tmp may be a RAM disk, so temporary files go beside the model file unless TMPDIR is set.
        scratch = Path(os.environ["TMPDIR"]) if os.environ.get("TMPDIR") else options.model_path.resolve().parent
        return cls(scratch, cache, checkpoint, options.resume, options.no_cache)

    @property
    def folder(self) -> Path:
        """The folder in which files of encoded rows are stored."""
        return self.cache or self.checkpoint or self.scratch

    def row_arrays(self) -> TemporaryArrays:
        """Arrays for encoded rows: in RAM, or in files if they take more than MAX_BYTES_IN_MEMORY."""
        return TemporaryArrays(self.folder, MAX_BYTES_IN_MEMORY)

    def storage(self, rows: EncodedRows) -> Storage:
        """Storage for other arrays with an entry per row: RAM, or files if the encoded rows are too large for RAM."""
        return IN_MEMORY if rows.nbytes <= MAX_BYTES_IN_MEMORY else Storage(self.folder)

    def checkpoints(self, source: Source) -> Checkpoints | None:
        """The checkpoints of the fit; None without --checkpoint."""
        if self.checkpoint is None:
            return None
        from torchlogit.checkpoints import Checkpoints

        return Checkpoints(self.checkpoint, resume=self.resume, data=source.fingerprint())

    @contextmanager
    def prepared(self, source: Source, encoder_options: EncoderOptions, plan: Plan) -> Iterator[Prepared]:
        """Yields the encoded rows of the source; a cache or checkpoint folder is locked while they are used."""
        if self.no_cache:
            yield prepare(source, encoder_options, plan, None)
            return
        if self.folder is self.scratch:
            arrays = self.row_arrays()
            prepared = prepare(source, encoder_options, plan, arrays)
            if arrays.spilled:
                size = f"the encoded rows take {arrays.n_bytes / 1e9:.1f} GB"
                click.echo(f"torchlogit: {size}, in temporary files in {self.folder}", err=True)
            yield prepared
            return
        with locked(self.folder / "rows.lock"):
            cache = Cache(self.folder)
            yield cache.prepared(source, encoder_options, plan)
            if self.cache is None:
                cache.clear()
