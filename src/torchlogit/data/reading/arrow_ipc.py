"""Arrow IPC files, .arrow and .feather: either the file format, which lists its batches at the end, or the stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc as ipc

from torchlogit.data.reading.bytes import Input, cannot_be_read, refusing_damage
from torchlogit.data.reading.reader import Naming, without_pandas_index

_MAGIC = b"ARROW1"  # at the start of the file format


def open_arrow(source: Input, compression: str | None, naming: Naming) -> ArrowReader:
    """A reader of the file, whose columns are listed at its start."""
    del compression  # Arrow files are not compressed as a whole: their buffers are
    with _opened(source, None) as (schema, _):
        found = without_pandas_index(schema.empty_table()).schema
    positions = [i for i, field in enumerate(schema) if field.name in found.names]
    return ArrowReader(source, naming.schema(source.display_name, found), tuple(positions))


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads an Arrow file. positions: index in the file of each column of `schema`."""

    source: Input
    schema: pa.Schema
    positions: tuple[int, ...]
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        positions = [self.positions[self.schema.names.index(name)] for name in columns]
        in_file = sorted(positions)
        with _opened(self.source, in_file) as (_, batches):
            first_row = 0
            while (batch := self._next(batches, first_row)) is not None:
                table = pa.Table.from_batches([batch])
                yield table.select([in_file.index(position) for position in positions]).rename_columns(list(columns))
                first_row += batch.num_rows

    def _next(self, batches: Iterator[pa.RecordBatch], first_row: int) -> pa.RecordBatch | None:
        where = f"{self.source.display_name} is damaged from row {first_row + 1} on"
        with refusing_damage(lambda reason: f"{where} ({reason}); write the file or fetch it again"):
            batch = next(batches, None)
            if batch is not None:
                batch.validate()
            return batch


@contextlib.contextmanager
def _opened(source: Input, positions: list[int] | None) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the batches, with the columns at these positions, or with all columns for None."""
    options = ipc.IpcReadOptions(included_fields=positions)
    with cannot_be_read(source), source.open() as stream:
        message = f"{source.display_name} is not a whole Arrow file; write it or fetch it again"
        with refusing_damage(lambda _: message):
            stream.size()  # waits for the end of a pipe: until then a read may return fewer bytes than Arrow asks for
            is_file_format = stream.read(len(_MAGIC)) == _MAGIC
            stream.seek(0)
            file = (ipc.open_file if is_file_format else ipc.open_stream)(stream, options=options)
        yield file.schema, (map(file.get_batch, range(file.num_record_batches)) if is_file_format else iter(file))
