"""A source's encoded rows kept in a folder, with what was learned of it: a later process need not read it again.

What is kept is good for the same source, unchanged, the same plan and the same encoder; for anything else it is made
anew. The note that says so, `rows.json`, is written last.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlogit.atomic import load_json, save_json
from torchlogit.data.encoded_rows import EncodedRows, StoredRows
from torchlogit.data.encoding.encoder import Encoder, EncoderOptions
from torchlogit.data.encoding.schema import schema_from_json, schema_to_json
from torchlogit.data.labels import ClassTotals
from torchlogit.data.plan import Plan
from torchlogit.data.preparation import Prepared, prepare
from torchlogit.data.reading.source import Source
from torchlogit.errors import CheckpointError, InputError
from torchlogit.storage import SavedArrays

NOTE, FORMAT = "rows.json", 2


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of encoded rows, made where it is missing.

    >>> import tempfile
    >>> from torchlogit.data.reading.source import open_source
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = Path(folder.name, "a.csv").write_text("x,y\\n1,no\\n2,yes\\n3,no\\n")
    >>> cache = Cache(Path(folder.name, "rows"))
    >>> for _ in range(2):
    ...     prepared = cache.prepared(open_source([folder.name + "/a.csv"]), EncoderOptions(), Plan("y"))
    ...     prepared.train.features.shape, prepared.classes.classes
    ((3, 1), ('no', 'yes'))
    ((3, 1), ('no', 'yes'))
    >>> folder.cleanup()
    """

    folder: Path

    def prepared(self, source: Source, options: EncoderOptions, plan: Plan) -> Prepared:
        """The source's rows: those that are kept, where they are still good; else made and kept."""
        key = _key(source, options, plan)
        return self._kept(key, plan) or self._made(key, source, options, plan)

    def clear(self) -> None:
        """Removes what is kept."""
        for path in [self.folder / NOTE, *self.folder.glob("rows-*")]:
            path.unlink(missing_ok=True)

    def _kept(self, key: str, plan: Plan) -> Prepared | None:
        note = self.folder / NOTE
        if not note.exists():
            return None
        try:
            facts = load_json(note)
            if facts["key"] != key:
                return None
            return _prepared(facts, SavedArrays.opened(self.folder, facts["sizes"]), plan)
        except (CheckpointError, LookupError, TypeError):
            return None  # damaged, or of a version that kept other things: it is made anew

    def _made(self, key: str, source: Source, options: EncoderOptions, plan: Plan) -> Prepared:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.clear()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot write there ({error.strerror}); choose another folder") from None
        arrays = SavedArrays(self.folder)
        facts = _facts(prepare(source, options, plan, arrays))
        save_json(self.folder / NOTE, {"key": key, "sizes": arrays.sizes(), **facts})
        # The first time too, the rows are read from the folder, so that every run uses the same.
        return _prepared(facts, arrays, plan)


def _key(source: Source, options: EncoderOptions, plan: Plan) -> str:
    asked = {"format": FORMAT, "source": source.fingerprint(), "encoder": asdict(options), "plan": asdict(plan)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=list).encode()).hexdigest()


def _facts(prepared: Prepared) -> dict[str, Any]:
    totals = prepared.classes
    return {
        "schema": schema_to_json(prepared.encoder.schema),
        "columns": list(prepared.encoder.columns),
        "classes": list(totals.classes),
        "counts": totals.counts.tolist(),
        "weight": totals.weight.tolist(),
        "notices": list(prepared.warnings),
    }


def _prepared(facts: dict[str, Any], arrays: SavedArrays, plan: Plan) -> Prepared:
    encoder = Encoder(schema_from_json(facts["schema"]), facts["columns"])

    def rows(name: str) -> EncodedRows:
        return StoredRows(arrays, name, encoder.n_features, encoder.is_sparse, plan.weight is not None).rows()

    totals = ClassTotals(tuple(facts["classes"]), np.array(facts["counts"]), np.array(facts["weight"]))
    held = None if plan.holdout is None else rows("held")
    return Prepared(encoder, totals, rows("train"), held, tuple(facts["notices"]))
