"""`python -m torchlogit`: the command line."""

from torchlogit.cli.main import run

run()
