"""TensorRT engines as what they are: a cache of a source, for one GPU and one version of TensorRT.

    engines/KEY/manifest.json    the key in words, the commands, and where the source lies
    engines/KEY/...              what the tool wrote
    engines/.KEY.part/           an engine in the making; removed whatever happens

The rules: a folder named after a key is never half an engine, and nothing is opened from one but by its tool.
"""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairway import __version__
from fairway.convert.tensorrt_plan import CHECKPOINT, EngineKey, EnginePlan
from fairway.errors import Busy, MissingExtra, ToolFailed
from fairway.formats.lineage import now
from fairway.models.packed_cache import Entry

MANIFEST = "manifest.json"
GPU = ("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
VERSIONS = "from importlib.metadata import version as v; print(v('tensorrt_llm'), v('tensorrt'))"
TRTEXEC = re.compile(r"\[TensorRT v(\d+)\]")
TAIL_LINES = 3
ASK_S = 120.0
"""How long a tool may take to say its version."""


@dataclass(frozen=True)
class Machine:
    """What an engine depends on beside its source. None: not to be found here."""

    tool: str | None
    gpu: str | None
    python: str

    @property
    def is_complete(self) -> bool:
        return self.tool is not None and self.gpu is not None


def look_around(plan: EnginePlan) -> Machine:
    """Asks the tool for its version and the driver for its first GPU."""
    found = shutil.which(plan.tool)
    python = "python3"
    if found is not None and (Path(found).parent / "python3").exists():
        python = str(Path(found).parent / "python3")
    gpus = _said(GPU).splitlines()
    return Machine(_version(plan.tool, python) if found else None, gpus[0].strip() if gpus else None, python)


def _version(tool: str, python: str) -> str | None:
    if tool == "trtexec":
        match = TRTEXEC.search(_said((tool, "--help")))
        return f"trtexec, TensorRT {match[1]}" if match else None
    versions = _said((python, "-c", VERSIONS)).split()
    return f"{tool}, TensorRT-LLM {versions[0]}, TensorRT {versions[1]}" if len(versions) == 2 else None


def _said(command: tuple[str, ...]) -> str:
    """What a program prints; nothing where it is not here or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@dataclass(frozen=True)
class Wanted:
    """An engine that is asked for."""

    model: str
    source: Path
    key: EngineKey
    plan: EnginePlan
    python: str


@dataclass(frozen=True)
class Engine:
    """One that is there. `reasons` say why it was built; empty where it was found."""

    folder: Path
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class EngineCache:
    """The folder of engines."""

    folder: Path

    def open(self, wanted: Wanted, note: Callable[[str], None]) -> Engine:
        """The engine of this very key, built now if it is not here; `note` gets a line before a build."""
        target = self.folder / wanted.key.value
        if _manifest(target):
            (target / MANIFEST).touch()
            return Engine(target, ())
        reasons = self._reasons(wanted)
        for reason in reasons:
            note(reason)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._turn(target) as part:
            self._build(wanted, part)
            if target.exists():
                shutil.rmtree(target)
            part.replace(target)
        return Engine(target, reasons)

    def _reasons(self, wanted: Wanted) -> tuple[str, ...]:
        """In which parts of its key the newest engine of this source differs."""
        for entry in self.entries():
            if entry.about.get("path") == str(wanted.source.resolve()):
                return tuple(wanted.key.differences(EngineKey(**entry.about["key"])))
        return ("no engine of this source is kept",)

    @contextmanager
    def _turn(self, target: Path) -> Iterator[Path]:
        """An empty folder that is ours alone and does not outlive the build."""
        part = target.with_name(f".{target.name}.part")
        with (self.folder / f".{target.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy("Another process is building this engine.", hint="Wait for it to end.") from None
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _build(self, wanted: Wanted, part: Path) -> None:
        commands = wanted.plan.commands(part, wanted.python)
        for command in commands:
            _run(command)
        shutil.rmtree(part / CHECKPOINT, ignore_errors=True)
        made = [path for path in part.rglob("*") if path.is_file() and path.stat().st_size]
        if not made:
            raise ToolFailed(f"{wanted.plan.tool} ended without an engine in {part}.", hint="Run it by hand.")
        about = {
            "model": wanted.model,
            "path": str(wanted.source.resolve()),
            "key": asdict(wanted.key),
            "commands": wanted.plan.commands(self.folder / wanted.key.value, wanted.python),
            "made": now(),
            "fairway": __version__,
        }
        (part / MANIFEST).write_text(json.dumps(about, indent=1) + "\n", "utf-8")

    def entries(self) -> list[Entry]:
        """What is kept, the last used first; `about` says "weights" as the list of the cache shows it."""
        found = []
        for path in self.folder.glob("[!.]*"):
            about = _manifest(path)
            size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
            used = (path / MANIFEST).stat().st_mtime if about else time.time()
            key = about.get("key", {})
            shown = {"weights": f"TensorRT engine, {key['precision']}, {key['gpu']}"} if key else {}
            found.append(Entry(path, size, used, about | shown))
        return sorted(found, key=lambda entry: -entry.used_s)


def _manifest(folder: Path) -> dict[str, Any]:
    """Empty where there is none, or a damaged one."""
    try:
        about = json.loads((folder / MANIFEST).read_text("utf-8"))
        EngineKey(**about["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found: dict[str, Any] = about
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolFailed(
            f"{command[0]} cannot be run: {error.strerror}.", hint=shlex.join(command)
        ) from error
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:])[:400]
        raise ToolFailed(
            f"{command[0]} ended with {done.returncode}: {said or 'it said nothing'}.",
            hint=f"Nothing was kept. By hand: {shlex.join(command)}",
        )


def check_machine(machine: Machine, plan: EnginePlan) -> None:
    """Raises `MissingExtra` naming what this machine lacks to build."""
    if machine.tool is None:
        extra = "TensorRT-LLM" if plan.tool == "trtllm-build" else "TensorRT"
        raise MissingExtra(
            f"{plan.tool} is not on this machine, so no engine was built.",
            hint=f"Run this on the machine with the GPU, with {extra}; --dry-run shows the commands.",
        )
    if machine.gpu is None:
        raise MissingExtra(
            "nvidia-smi names no GPU here, and an engine is built on the GPU it is for.",
            hint="Run this on the machine with the GPU; --dry-run shows the commands.",
        )


def as_shell(commands: list[list[str]]) -> list[str]:
    """Each command as one line that a shell takes."""
    return [shlex.join(command) for command in commands]
