"""Parquet files, read in batches within each row group, so that memory does not grow with the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from torchlogit.data.reading.bytes import Input, cannot_be_read, refusing_damage
from torchlogit.data.reading.reader import Naming, without_pandas_index
from torchlogit.errors import DataError

_BATCH_ROWS = 1 << 16  # rows that are decoded at a time; more take more memory
_COLUMN_BYTES = 1 << 18  # bytes of a column that are read at a time; pyarrow's default is the column's whole row group


def open_parquet(source: Input, compression: str | None, naming: Naming) -> ParquetReader:
    """A reader of the file, whose columns are listed at its end."""
    del compression  # Parquet files are not compressed as a whole: their pages are
    with _opened(source) as file:
        found = without_pandas_index(file.schema_arrow.empty_table()).schema
        rows = file.metadata.num_rows
    schema = naming.schema(source.display_name, found)
    if not rows:
        raise DataError(f"{source.display_name} has column names and no rows; give a file with rows")
    return ParquetReader(source, schema, tuple(found.names))


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """Reads a Parquet file. in_file: the names of the columns in the file, in the order of `schema`."""

    source: Input
    schema: pa.Schema
    in_file: tuple[str, ...]
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        with _opened(self.source) as file:
            first_row = 0
            for group in range(file.metadata.num_row_groups):
                yield from self._group(file, group, first_row, columns)
                first_row += file.metadata.row_group(group).num_rows

    def _group(self, file: pq.ParquetFile, group: int, first_row: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        in_file = dict(zip(self.schema.names, self.in_file, strict=True))
        selected = [in_file[name] for name in columns]
        unique = len(set(self.in_file)) == len(self.in_file)
        rows = f"rows {first_row + 1} to {first_row + file.metadata.row_group(group).num_rows}"
        message = f"{self.source.display_name} {rows} are damaged"
        with refusing_damage(lambda reason: f"{message} ({reason}); write the file or fetch it again"):
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=selected if unique else None):
                table = pa.Table.from_batches([batch])
                if unique:
                    yield table.select(selected).rename_columns(list(columns))
                else:
                    yield table.select(range(len(self.in_file))).rename_columns(self.schema.names).select(columns)


@contextlib.contextmanager
def _opened(source: Input) -> Iterator[pq.ParquetFile]:
    with cannot_be_read(source), source.open() as stream:
        message = f"{source.display_name} is not a whole Parquet file; write it or fetch it again"
        with refusing_damage(lambda _: message):
            file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_COLUMN_BYTES, page_checksum_verification=True)
        yield file
