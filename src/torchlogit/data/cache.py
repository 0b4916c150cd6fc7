"""A folder of encoded rows, with their encoder and classes, so that a later process need not read the source again.

The rows are used again if the source is unchanged, and the plan and the encoder options are the same; otherwise they
are encoded and saved again. `rows.json`, which identifies what the rows were made from, is written last.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlogit.atomic import write_atomically
from torchlogit.data.encoded_rows import EncodedRows, StoredRows
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.learn_encoder import EncoderOptions
from torchlogit.data.encoding.schema import schema_from_json, schema_to_json
from torchlogit.data.labels import ClassTotals
from torchlogit.data.plan import Plan
from torchlogit.data.preparation import Prepared, prepare
from torchlogit.data.reading.source import Source
from torchlogit.errors import InputError
from torchlogit.storage import SavedArrays

NOTE = "rows.json"  # holds the key of the rows, the sizes of their files, the encoder, the classes and the warnings
FORMAT = 2  # version of the folder's layout; rows of another version are encoded again


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of encoded rows, which is created if it does not exist.

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
        """The prepared source: read from the folder if it holds these rows; otherwise prepared and saved there."""
        key = _key(source, options, plan)
        return self._loaded(key, plan) or self._made(key, source, options, plan)

    def clear(self) -> None:
        """Removes the rows from the folder."""
        for path in [self.folder / NOTE, *self.folder.glob("rows-*")]:
            path.unlink(missing_ok=True)

    def _loaded(self, key: str, plan: Plan) -> Prepared | None:
        try:
            facts = json.loads((self.folder / NOTE).read_bytes())
        except (OSError, ValueError):
            return None  # there is no file yet, or it is damaged
        try:
            if facts["key"] != key:
                return None
            return _prepared(facts, SavedArrays.opened(self.folder, facts["sizes"]), plan)
        except (LookupError, TypeError):
            return None  # the file has another version, or files of rows are missing

    def _made(self, key: str, source: Source, options: EncoderOptions, plan: Plan) -> Prepared:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.clear()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot write there ({error.strerror}); choose another folder") from None
        arrays = SavedArrays(self.folder)
        facts = _facts(prepare(source, options, plan, arrays))
        note = json.dumps({"key": key, "sizes": arrays.sizes(), **facts}, sort_keys=True, ensure_ascii=False)
        write_atomically(self.folder / NOTE, note.encode())
        # The first run uses the encoder as it is read back from JSON, as later runs do.
        return _prepared(facts, arrays, plan)


def _key(source: Source, options: EncoderOptions, plan: Plan) -> str:
    made_from = {"format": FORMAT, "source": source.fingerprint(), "encoder": asdict(options), "plan": asdict(plan)}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=list).encode()).hexdigest()


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
        weighted, dtype = plan.weight is not None, encoder.schema.dtype
        return StoredRows(arrays, name, encoder.n_features, encoder.is_sparse, weighted, dtype).rows()

    totals = ClassTotals(tuple(facts["classes"]), np.array(facts["counts"]), np.array(facts["weight"]))
    held_out = None if plan.holdout is None else rows("held_out")
    return Prepared(encoder, totals, rows("train"), held_out, tuple(facts["notices"]))
