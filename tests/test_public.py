"""What the package promises to whoever imports it: its names, and that they come at no cost until they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest

import torchlogit

NAMES = [
    "SAGA",
    "SGD",
    "Certificate",
    "DataError",
    "DivergedError",
    "DoG",
    "DualAscent",
    "ImplicitSGD",
    "InputError",
    "L2Choice",
    "LogisticModel",
    "LogisticRegression",
    "LogisticRegressionPath",
    "ModelFileError",
    "SoftmaxAscent",
    "Status",
    "StochasticNewton",
    "TableEncoder",
    "TorchlogitError",
    "TorchlogitWarning",
    "__version__",
    "load",
    "load_svmlight",
    "save",
]


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after this code."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_public_names() -> None:
    assert torchlogit.__all__ == NAMES
    assert dir(torchlogit) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there(name: str) -> None:
    thing = getattr(torchlogit, name)
    if name != "__version__":
        assert thing.__name__ == name
        assert thing.__doc__


def test_every_public_name_has_a_home() -> None:
    assert {"__version__", *torchlogit._HOMES} == set(NAMES)


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from torchlogit import *", names)
    assert set(NAMES) <= set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'torchlogit' has no attribute 'LogisticRegresion'$"):
        _ = torchlogit.LogisticRegresion  # type: ignore[attr-defined]


def test_every_error_is_torchlogits_and_what_python_expects() -> None:
    for error in (torchlogit.InputError, torchlogit.DataError, torchlogit.ModelFileError):
        assert issubclass(error, torchlogit.TorchlogitError)
        assert issubclass(error, ValueError)
    assert issubclass(torchlogit.DivergedError, torchlogit.TorchlogitError)
    assert issubclass(torchlogit.TorchlogitWarning, UserWarning)


HEAVY = {"torch", "numpy", "scipy", "sklearn", "pyarrow", "pandas", "safetensors"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not HEAVY & modules_after("import torchlogit; torchlogit.__version__")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["inspect", "-h"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from torchlogit.cli.main import main
sys.argv = ["torchlogit", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code"""
    assert not HEAVY & modules_after(code)


def test_types_and_version_are_shipped() -> None:
    assert files("torchlogit").joinpath("py.typed").is_file()
    assert torchlogit.__version__ == version("torchlogit")
