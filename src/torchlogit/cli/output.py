"""Writes predictions table by table: as CSV to standard output, or to a file that is replaced only when complete."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

STANDARD_OUTPUT = "-"
CODECS = {".csv": None, ".csv.gz": "gzip", ".csv.zst": "zstd"}  # by the suffix of a CSV file
SUFFIXES = (*CODECS, ".parquet")


def check_suffix(output: str) -> None:
    """Raises InputError for a file name without one of the SUFFIXES."""
    from torchlogit.errors import InputError

    if output != STANDARD_OUTPUT and not output.endswith(SUFFIXES):
        raise InputError(f"{output}: predictions are written as {', '.join(SUFFIXES)}; give such a name, or -")


@contextmanager
def writing(output: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yields a function that writes tables of this schema. If anything fails, an existing file is left unchanged."""
    from torchlogit.atomic import replacing

    if output == STANDARD_OUTPUT:
        yield _csv_writer(sys.stdout.buffer, schema, None)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(output)) as file:
        if output.endswith(".parquet"):
            with _parquet_writer(file, schema) as write:
                yield write
        else:
            yield _csv_writer(file, schema, next(codec for suffix, codec in CODECS.items() if output.endswith(suffix)))


def _csv_writer(file: IO[bytes], schema: pa.Schema, codec: str | None) -> Callable[[pa.Table], None]:
    """Writes the header, and returns a function that writes tables; with a codec, each is compressed separately."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    def write(table: pa.Table, *, header: bool = False) -> None:
        text = pa.BufferOutputStream()
        pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=header, quoting_style="needed"))
        content = text.getvalue()
        file.write(content if codec is None else pa.compress(content, codec))

    write(schema.empty_table(), header=True)
    return write


@contextmanager
def _parquet_writer(file: IO[bytes], schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes each table as a row group."""
    import pyarrow.parquet as pq

    writer = pq.ParquetWriter(file, schema)
    try:
        yield writer.write_table
    except BaseException:
        with suppress(Exception):
            writer.close()  # otherwise it would close itself later, when the file no longer exists
        raise
    writer.close()
