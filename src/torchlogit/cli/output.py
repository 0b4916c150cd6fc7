"""Writers of predictions, table by table: CSV to standard output, or a file that is replaced when it is complete."""

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
    """Writes tables of one schema."""

    def write(self, table: pa.Table) -> None:
        """Appends the rows of a table."""
        ...

    def close(self) -> None:
        """Writes the end of the file."""
        ...


class CsvWriter:
    """CSV; with a codec, `gzip` or `zstd`, every table is a compressed member of its own."""

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
    """Parquet, with a row group for each table."""

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
    """Refuses a file name whose suffix is none of WRITERS."""
    from torchlogit.errors import InputError

    if output != STANDARD_OUTPUT and not output.endswith(tuple(WRITERS)):
        kinds = ", ".join(WRITERS)
        raise InputError(f"{output}: predictions are written as {kinds}; give such a name, or -")


@contextmanager
def writing(output: str, schema: pa.Schema) -> Iterator[TableWriter]:
    """A writer of tables of this schema; where anything fails, the file is left as it was."""
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
                to_file.close()  # else Parquet's writer closes itself later, when the file is gone
            raise
        to_file.close()
