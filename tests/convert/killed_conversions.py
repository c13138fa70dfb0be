"""Conversions in a process that kills itself at a chosen moment, and what they leave to compare."""

import os
import signal
import subprocess
import sys
from pathlib import Path

KILLED_BY_ITSELF = """
import os, signal, sys
from fairway.cli.main import run
from fairway.convert import publish, workplace
place = workplace.Workplace
def dies_after(count, function):
    calls = []
    def wrapped(*arguments):
        calls.append(function(*arguments))
        if len(calls) >= count:
            os.kill(os.getpid(), signal.SIGKILL)
        return calls[-1]
    return wrapped
moment, count = sys.argv[1], int(sys.argv[2])
if moment == "note":
    place.note = dies_after(count, place.note)
elif moment == "begin":
    place.begin = dies_after(count, place.begin)
else:
    setattr(publish, moment, dies_after(count, getattr(publish, moment)))
run(sys.argv[3:])
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def files_of(path: Path) -> dict[str, bytes]:
    """Everything but the record of when it was made."""
    if path.is_file():
        return {"": path.read_bytes()}
    found = {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    found.pop("fairway.json")
    return found


def killed(moment: str, count: int, *arguments: object) -> None:
    command = [sys.executable, "-c", KILLED_BY_ITSELF, moment, str(count), "convert", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=100, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
