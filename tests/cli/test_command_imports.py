"""No command imports what it does not use: imports are most of the time that a command takes on a small table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from torchlogit import __version__

TRAIN = ["train", "rows.csv", "--target", "y", "-o", "model.safetensors"]
COMMANDS = {
    "train": TRAIN,
    "train by one pass": [*TRAIN, "--solver", "streaming"],
    "train by sgd": [*TRAIN, "--solver", "sgd"],
    "train, l2 chosen": [*TRAIN, "--l2", "auto"],
    "predict": ["predict", "model.safetensors", "rows.csv"],
    "evaluate": ["evaluate", "model.safetensors", "rows.csv"],
    "inspect": ["inspect", "model.safetensors"],
    "demo": ["demo"],
}
UNUSED = {"sklearn", "pandas", "scipy.stats"}
WITHOUT_TORCH = ("predict", "inspect")


def imported(folder: Path, *arguments: str) -> set[str]:
    """The modules that `torchlogit ARGUMENTS` has imported by its end, in a fresh process."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    code += "; from torchlogit.cli.main import run; run()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return set(done.stderr.splitlines()[-1].split())


def test_the_package_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "torchlogit", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(f"{__version__}\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a model of it with standard errors."""
    folder = tmp_path_factory.mktemp("commands")
    rows = [f"{i * 7 % 10},{'ab'[i % 2]},{'yes' if i * 3 % 7 > 3 else 'no'}" for i in range(60)]
    (folder / "rows.csv").write_text("\n".join(["x,kind,y", *rows]) + "\n")
    imported(folder, *TRAIN, "--l2", "0")
    return folder


SLOW = ("train by one pass", "train, l2 chosen", "demo")  # seconds each, and they import what the others do


@pytest.mark.parametrize("name", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW)) for c in COMMANDS])
def test_a_command_imports_what_it_uses(name: str, folder: Path) -> None:
    modules = imported(folder, *COMMANDS[name])
    unused = UNUSED | ({"torch"} if name in WITHOUT_TORCH else set())
    assert not unused & modules
