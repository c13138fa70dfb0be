"""Opens files in a process that notes whatever else happens: `python watched.py HOW FOLDER`, JSON on stdout.

An audit hook is the canary for files, processes, the network and imports. HOW "open" is what Fairway does
with files, HOW "unpickle" is what it must never do: with it the canaries must sing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import sys
from pathlib import Path

OF_PROCESSES = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.")
OF_THE_NETWORK = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "imaplib.", "ssl.")
OF_FILES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink",
    "os.truncate", "os.utime", "os.putenv", "os.chdir", "shutil.", "tempfile.",
)  # fmt: skip
OF_CODE = ("exec", "compile", "import", "marshal.", "pickle.find_class", "ctypes.", "code.__new__")
WATCHED = OF_PROCESSES + OF_THE_NETWORK + OF_FILES + OF_CODE
LOADED_LATE = ("encodings.cp437", "encodings.raw_unicode_escape", "yaml")
"""By our readers, when they meet a zip file, an old pickle or a .nemo archive."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Canaries:
    """What was noticed: (event, arguments). Reading is allowed inside `folder` alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())
        self.noticed: list[tuple[str, str]] = []
        self.is_on = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and (self.is_file_elsewhere(event, arguments) or event.startswith(WATCHED)):
            self.noticed.append((event, ascii(arguments)[:120]))

    def is_file_elsewhere(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event != "open" or not isinstance(arguments[0], str):
            return False
        path, _, flags = arguments
        return bool(flags & WRITING) or not os.path.realpath(str(path)).startswith(self.folder)


def open_all(path: Path) -> None:
    """As `fairway inspect`, `convert --dry-run` and a loader do it: every reader, every tensor."""
    for read in (open_bundle, open_graph):
        with contextlib.suppress(FairwayError):
            model = read(path, complete=False) if read is open_bundle else read(path)
            for name in model.tensors.infos if model else ():
                with contextlib.suppress(FairwayError):
                    model.tensors.read(name)
            if read is open_bundle:
                summarize(model)
                prepare(model, ConvertSettings(to="safetensors", weights_only=True))


def unpickle(path: Path) -> None:
    with contextlib.suppress(Exception):
        pickle.loads(path.read_bytes())


if __name__ == "__main__":
    for module in LOADED_LATE:
        importlib.import_module(module)

    from fairway.convert.hops import prepare
    from fairway.convert.settings import ConvertSettings
    from fairway.errors import FairwayError
    from fairway.formats.open import open_bundle
    from fairway.formats.open_graph import open_graph
    from fairway.formats.summary import summarize

    how, folder = {"open": open_all, "unpickle": unpickle}[sys.argv[1]], Path(sys.argv[2])
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    canaries = Canaries(folder)
    sys.addaudithook(canaries)
    canaries.is_on = True
    for each in paths:
        how(each)
    canaries.is_on = False
    print(json.dumps({"files": len(paths), "noticed": canaries.noticed}))
