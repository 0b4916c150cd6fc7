"""Arrow's own files: .arrow and .feather, with a list of their batches at the end or as a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc as ipc

from torchlogit.data.reading.bytes import Input, cannot_be_read
from torchlogit.data.reading.reader import Naming, without_pandas_index
from torchlogit.data.wording import one_line
from torchlogit.errors import DataError

_MAGIC = b"ARROW1"


def open_arrow(source: Input, compression: str | None, naming: Naming) -> ArrowReader:
    """The file's columns, from its schema."""
    del compression  # of its buffers, if any
    with _opened(source, None) as (schema, _):
        found = without_pandas_index(schema.empty_table()).schema
    names = tuple(naming.of(source.display_name, found.names))
    named = pa.schema([field.with_name(name) for field, name in zip(found, names, strict=True)])
    kept = [place for place, field in enumerate(schema) if field.name in found.names]
    return ArrowReader(source, named, tuple(kept))


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """An Arrow file: its columns, and their places in it."""

    source: Input
    schema: pa.Schema
    places: tuple[int, ...]
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one record batch at a time."""
        places = [self.places[self.schema.names.index(name)] for name in columns]
        in_file = sorted(places)
        with _opened(self.source, in_file) as (_, batches):
            first_row = 0
            while (batch := self._next(batches, first_row)) is not None:
                table = pa.Table.from_batches([batch])
                yield table.select([in_file.index(place) for place in places]).rename_columns(list(columns))
                first_row += batch.num_rows

    def _next(self, batches: Iterator[pa.RecordBatch], first_row: int) -> pa.RecordBatch | None:
        try:
            batch = next(batches, None)
            if batch is not None:
                batch.validate()
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(
                f"{self.source.display_name} is damaged from row {first_row + 1} on ({one_line(str(error))}); "
                f"write the file or fetch it again"
            ) from None
        return batch


@contextlib.contextmanager
def _opened(source: Input, places: list[int] | None) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the batches, of these columns alone where their places are given."""
    options = ipc.IpcReadOptions(included_fields=places)
    with cannot_be_read(source), source.open() as stream:
        try:
            stream.size()  # waits for the end of a pipe, which gives fewer bytes than Arrow asks for before
            listed = stream.read(len(_MAGIC)) == _MAGIC
            stream.seek(0)
            file = (ipc.open_file if listed else ipc.open_stream)(stream, options=options)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(f"{source.display_name} is not a whole Arrow file; write it or fetch it again") from None
        yield file.schema, (map(file.get_batch, range(file.num_record_batches)) if listed else iter(file))
