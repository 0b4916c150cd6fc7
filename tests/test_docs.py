"""Every command and snippet that README, docs and examples show is run, and shows what it shows."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from commands import masked, torchlogit
from places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
BLOCK = re.compile(r"^```(\w+)(?: needs (?:\w+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^```\w+ needs (\w+)$", re.MULTILINE)
FILE = re.compile(r"\b(?:benchmarks|docs|examples|scripts|src|tests)/[\w/.-]+\.\w+\b")
# CONTRIBUTING.md's examples of new files.
TO_BE_WRITTEN = {"src/torchlogit/data/encoding/durations.py", "src/torchlogit/data/reading/FORMAT.py"}
LINK = re.compile(r"\]\(([^)#:]+)\)")


def blocks(page: Path, kind: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text()) if language == kind]


def pages_with(kind: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, kind)]


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder that has the examples where the pages say they are."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


@pytest.mark.parametrize("page", pages_with("python"), ids=names)
def test_python_snippets_print_what_their_comments_say(page: Path, folder: Path) -> None:
    """A page whose snippets need a package of the bench extra is skipped where that is not installed."""
    if missing := {module for module in NEEDS.findall(page.read_text()) if not find_spec(module)}:
        pytest.skip(f"needs {', '.join(sorted(missing))}: pip install torchlogit[bench]")
    namespace: dict[str, object] = {}
    for snippet in blocks(page, "python"):
        printed = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            exec(compile(snippet, names(page), "exec"), namespace)
        expected = [line[2:] for line in snippet.splitlines() if line.startswith("# ")]
        assert printed.getvalue().splitlines() == expected


@pytest.mark.parametrize("page", pages_with("console"), ids=names)
def test_commands_print_what_is_shown(page: Path, folder: Path) -> None:
    for text in blocks(page, "console"):
        for shown in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, output = shown.partition("\n")
            ended = torchlogit(folder, *shlex.split(command)[1:])
            assert (ended.code, ended.stderr) == (0, "")
            if output.strip():
                assert masked(ended.stdout).strip() == masked(output).strip()


def test_the_picture_of_the_readme_is_the_one_that_the_demo_draws(folder: Path) -> None:
    torchlogit(folder, "demo", "--picture", "demo.svg")
    number = re.compile(r"-?\d+\.?\d*")
    shown, drawn = (path.read_text() for path in (ROOT / "docs" / "demo.svg", folder / "demo.svg"))
    assert number.sub("", shown) == number.sub("", drawn)
    a_tenth_of_a_pixel = pytest.approx([float(text) for text in number.findall(drawn)], abs=0.1)
    assert [float(text) for text in number.findall(shown)] == a_tenth_of_a_pixel


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_make_targets_exist(page: Path) -> None:
    for target in set(re.findall(r"`make ([a-z-]+)`|^    make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)):
        assert shutil.which("make"), "the README asks for make"
        asking = ["make", "-n", *filter(None, target)]
        asked = subprocess.run(asking, cwd=ROOT, capture_output=True, text=True, check=False)
        assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = set(FILE.findall(page.read_text())) - TO_BE_WRITTEN
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
