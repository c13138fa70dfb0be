"""Virtual environments, converted models and long commands, with one line when they fail.

An environment is finished when its list of requirements lies in it, a model when it has its name: what
was half made when a run was stopped is made again. Commands run at the lowest priority.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.protocol import Unavailable

TORCH = "torch==2.13.0"
"""One version for all peers; where its CPU build comes from is pip's configuration (see the guide)."""
FINISHED = "fairway-requirements.txt"
REASON_LENGTH = 160


def ensure_environment(folder: Path, requirements: Sequence[str], remove: Sequence[str] = ()) -> Path:
    """The interpreter of an environment that has `requirements` and not `remove`."""
    python = folder / "bin" / "python"
    wanted = "\n".join([*requirements, *(f"-{name}" for name in remove)])
    stamp = folder / FINISHED
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    log = folder.parent / f"{folder.name}.log"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(folder)], log)
    run([str(python), "-m", "pip", "install", "--quiet", *requirements], log)
    if remove:
        run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *remove], log)
    stamp.write_text(wanted, "utf-8")
    return python


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file or a folder that gets its name `path` when all of it is there."""
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    yield partial
    partial.rename(path)


def run(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs to the end, output into `log`; raises `Unavailable` with the last line of it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        done = subprocess.run(
            [*lowest_priority(), *command], stdout=file, stderr=file, env=environment, check=False
        )
    if done.returncode:
        raise Unavailable(f"{Path(command[0]).name} failed: {last_line(log)}")


def lowest_priority() -> list[str]:
    """A prefix that keeps installing and converting out of everyone's way."""
    nice = ["nice", "-n", "19"] if shutil.which("nice") else []
    return nice + (["ionice", "-c3"] if shutil.which("ionice") else [])


def last_line(log: Path) -> str:
    """What a failed command said last, without paths of this machine."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    text = lines[-1] if lines else "it said nothing"
    return text.replace(str(Path.home()), "~")[:REASON_LENGTH]
