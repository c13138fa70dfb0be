"""Every command the pages show is one the program knows, and the README's own examples run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.cli.addresses import Addresses
from fairway.cli.main import COMMANDS, LazyGroup

ROOT = Path(__file__).parents[2]
BUILTIN = ROOT / "src" / "fairway" / "builtin" / "model.safetensors"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("[!r]*/*.md"))]


def commands(page: Path) -> list[str]:
    """The lines that begin with $ in the page's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


SHOWN = [(page.name, line) for page in PAGES for line in commands(page) if "fairway " in line]


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=lambda x: x)
def test_shown_command_exists_with_its_flags(page, line):
    words = shlex.split(line.split("|")[-1])
    assert words[0] == "fairway"
    assert words[1] in COMMANDS
    command = LazyGroup("fairway").get_command(None, words[1])
    known = {name for parameter in command.params for name in parameter.opts}
    flags = [word.split("=")[0] for word in words[2:] if word.startswith("--")]
    assert set(flags) <= known


@pytest.mark.skipif(not BUILTIN.exists(), reason="the built-in model is not here")
@pytest.mark.parametrize("line", [line for name, line in SHOWN if name == "README.md" and "builtin" in line])
def test_readme_command_runs(line, tmp_path):
    program = f"{shlex.quote(sys.executable)} -m fairway.cli.main"
    done = subprocess.run(
        ["sh", "-c", line.replace("fairway", program, 1)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_openai_snippet_is_the_one_that_up_prints():
    """Same client, same address, so that copying either works."""
    readme = (ROOT / "README.md").read_text("utf-8")
    printed = Addresses("http://127.0.0.1:8000", "builtin", True, False).to_dict()["python"]
    assert "\n\n".join(printed[:2]) in readme


def test_readme_is_short_enough_to_read():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200
