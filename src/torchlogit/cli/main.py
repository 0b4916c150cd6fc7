"""The command `torchlogit`. Each subcommand has its own module, which is imported when the subcommand is called."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

import click

ENDED_BY_SIGPIPE = 128 + 13  # the exit code that a shell reports for a process that was ended by SIGPIPE (13)

COMMANDS = {
    "demo": "The tutorial's experiment: 400 rows, 20 epochs of SGD, and how far they end from the optimum.",
    "train": "Train a model on a table: CSV or Parquet in, one model file and a report out.",
    "predict": "Predict a table's rows with a model.",
    "evaluate": "Measure a model on a table that has the target column.",
    "inspect": "Show what a model holds: coefficients, odds ratios, errors, certificate, columns.",
}


class _Commands(click.Group):
    """The subcommands; --help shows them without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"torchlogit.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output closed it, as `head` does; click would exit with 1
            _discard_output()
            sys.exit(ENDED_BY_SIGPIPE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="torchlogit")
def cli() -> None:
    """Logistic regression by stochastic gradients, with nothing to tune and a proof of how good the answer is."""


class _PathWithoutPandas(PathFinder):
    """Finds all modules on sys.path except pandas."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if fullname == "pandas" else PathFinder.find_spec(fullname, path, target)


def run() -> None:
    """The entry point of the command: runs the command line in its own process."""
    # pyarrow imports pandas, where it is installed, to recognise its types: .3 s, and no command uses it.
    sys.meta_path[:] = [_PathWithoutPandas if finder is PathFinder else finder for finder in sys.meta_path]
    # torch and numba hold 200,000 objects that live until the end. Searching them for garbage takes .2 s while they are
    # imported and .7 s at exit: `train` on the Adult table took 2.9 s without the next two lines, 2.1 s with them.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    main()


def main() -> None:
    """Runs the command line. Bad input gives one line on standard error and exit code 1, never a traceback."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning idle threads make small steps 100 times slower
    from torchlogit.errors import TorchlogitError

    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("torchlogit: interrupted", err=True)
        sys.exit(130)
    except OSError as error:
        click.echo(f"torchlogit: {error.filename or 'the output'}: {error.strerror or error}", err=True)
        _discard_output()
        sys.exit(1)
    except TorchlogitError as error:
        click.echo(f"torchlogit: {error}", err=True)
        sys.exit(1)
    except MemoryError:
        click.echo("torchlogit: out of memory; --drop columns with many levels, or take fewer rows", err=True)
        sys.exit(1)


def _discard_output() -> None:
    """Discards buffered output. Otherwise Python would try to write it at exit, and print an error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
