"""svmlight files as tables: a column of labels, and one of sparse vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from torchlogit.data.encoding.vectors import FIELDS, as_vectors
from torchlogit.data.reading.bytes import Input, Text
from torchlogit.data.reading.reader import Naming
from torchlogit.data.reading.svmlight import QID, chunks_of
from torchlogit.errors import DataError

LABEL, VECTORS = "label", "f"
_ENTRY = pa.struct(list(zip(FIELDS, (pa.int32(), pa.float32()), strict=True)))


def open_svmlight(source: Input, compression: str | None, naming: Naming) -> SvmlightReader:
    """The file, whose columns are known."""
    if naming.names is not None:
        raise DataError(f"{source.display_name}: the features of svmlight files have numbers; leave the names out")
    return SvmlightReader(Text(source, compression))


@dataclass(frozen=True, slots=True)
class SvmlightReader:
    """A svmlight file; `seen` is what it has had to say so far."""

    text: Text
    seen: list[str] = field(default_factory=list)
    target: str = LABEL

    @property
    def schema(self) -> pa.Schema:
        """Labels are floats, as any row may have one that is not whole; where they are told apart, 1.0 is 1."""
        return pa.schema([(LABEL, pa.float64()), (VECTORS, pa.list_(_ENTRY))])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whether there are ids of queries."""
        return tuple(self.seen)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one piece of text at a time."""
        for chunk in chunks_of(self.text):
            if chunk.has_qid and QID not in self.seen:
                self.seen.append(QID)
            vectors = as_vectors(chunk.indptr, chunk.indices, chunk.values)
            yield pa.table([pa.array(chunk.targets), vectors], schema=self.schema).select(columns)
