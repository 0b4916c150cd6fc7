"""Where tables are written, piece by piece: CSV to standard output, or a file, whole or not at all, by its suffix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class TableWriter(Protocol):
    """Takes tables of one schema."""

    def write(self, table: pa.Table) -> None:
        """Writes the rows of a table below those written before."""
        ...

    def close(self) -> None:
        """Writes what comes after all rows."""
        ...


class CsvWriter:
    """CSV, every piece a member of its own where it is packed: `gzip`, `zstd` or None."""

    def __init__(self, file: IO[bytes], schema: pa.Schema, codec: str | None) -> None:
        self._file, self._codec = file, codec
        self._write(schema.empty_table(), header=True)

    def write(self, table: pa.Table) -> None:
        self._write(table, header=False)

    def close(self) -> None:
        self._file.flush()

    def _write(self, table: pa.Table, *, header: bool) -> None:
        import pyarrow as pa
        import pyarrow.csv as pacsv

        text = pa.BufferOutputStream()
        pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=header, quoting_style="needed"))
        content = text.getvalue()
        self._file.write(content if self._codec is None else pa.compress(content, self._codec))


class ParquetWriter:
    """Parquet, a row group for each piece."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(file, schema)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()


WRITERS: dict[str, Callable[[IO[bytes], pa.Schema], TableWriter]] = {
    ".csv": partial(CsvWriter, codec=None),
    ".csv.gz": partial(CsvWriter, codec="gzip"),
    ".csv.zst": partial(CsvWriter, codec="zstd"),
    ".parquet": ParquetWriter,
}
STANDARD_OUTPUT = "-"


def check_suffix(output: str) -> None:
    """Refuses a name that does not say how to write."""
    from torchlogit.errors import InputError

    if output != STANDARD_OUTPUT and not output.endswith(tuple(WRITERS)):
        kinds = ", ".join(WRITERS)
        raise InputError(f"{output}: predictions are written as {kinds}; give such a name, or -")


@contextmanager
def writing(output: str, schema: pa.Schema) -> Iterator[TableWriter]:
    """A writer of tables of this schema, in whose place nothing is changed where anything fails."""
    from torchlogit.atomic import replacing

    if output == STANDARD_OUTPUT:
        writer = CsvWriter(sys.stdout.buffer, schema, None)
        yield writer
        writer.close()
        return
    make = next(make for suffix, make in WRITERS.items() if output.endswith(suffix))
    with replacing(Path(output)) as file:
        to_file: TableWriter = make(file, schema)
        try:
            yield to_file
        except BaseException:
            with suppress(Exception):
                to_file.close()  # else Parquet's writer would do so later, when there is no file
            raise
        to_file.close()
