"""Hostile files are never executed: canaries for files, processes, the network and code watch."""

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import onnx_bytes
import pytest
from hostile_safetensors import safetensors_bytes

FOLDER = Path(__file__).parent


class Call:
    """A pickle of it calls `function` where it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def watched(how, folder):
    environment = {"PYTHONPATH": str(FOLDER.parents[1] / "src"), "PATH": os.environ["PATH"]}
    command = [sys.executable, str(FOLDER / "watched.py"), how, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


TRAPS = {
    "open": lambda folder: Call(open, str(folder / "written"), "w"),
    "os.remove": lambda folder: Call(os.remove, str(folder / "absent")),
    "os.system": lambda folder: Call(os.system, "true"),
    "subprocess.Popen": lambda folder: Call(subprocess.Popen, ["true"]),
    "socket.getaddrinfo": lambda folder: Call(socket.getaddrinfo, "localhost", 9),
    "exec": lambda folder: Call(exec, "x = 1"),
    "import": lambda folder: Call(__import__, "colorsys"),
}
"""What a canary must notice -> what to load for it."""


@pytest.fixture(params=TRAPS)
def trap(request, tmp_path):
    """One pickle in every container that may hold one."""
    inside = tmp_path / "models"
    inside.mkdir()
    raw = pickle.dumps(TRAPS[request.param](tmp_path), 2)
    (inside / "model.pkl").write_bytes(raw)
    (inside / "model.safetensors").write_bytes(raw)
    with zipfile.ZipFile(inside / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    with tarfile.open(inside / "model.nemo", "w") as archive:
        for name, data in {"model_weights.ckpt": packed.getvalue(), "model_config.yaml": b"a: 1"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return request.param, inside


def test_each_canary_sings_when_a_pickle_is_loaded(trap):
    event, folder = trap
    assert event in [name for name, _ in watched("unpickle", folder)["noticed"]]


def test_opening_the_same_files_wakes_none(trap):
    _, folder = trap
    assert watched("open", folder) == {"files": 4, "noticed": []}
    assert not (folder.parent / "written").exists()


def test_nothing_that_a_file_names_elsewhere_is_looked_at(tmp_path):
    """Paths, links, entities and templates that lead out of the folder, or to another machine."""
    (tmp_path / "secret").write_bytes(bytes(64))
    inside = tmp_path / "models"
    inside.mkdir()
    for number, location in enumerate(("../secret", "/etc/passwd", "http://localhost:9/a", "link")):
        weight = onnx_bytes.tensor("w", [2], 1, onnx_bytes.external(location))
        (inside / f"{number}.onnx").write_bytes(onnx_bytes.model(onnx_bytes.graph([], [weight])))
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "index.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../secret"}}))
    (inside / "Modelfile").write_text("FROM http://localhost:9/model\nADAPTER ../secret\n")
    entity = '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    (inside / "entity.xml").write_text(f'<?xml version="1.0"?>{entity}<net name="&x;"></net>')
    (inside / "a.safetensors").write_bytes(safetensors_bytes({}, b""))
    (inside / "chat_template.jinja").write_text("{{ cycler.__init__.__globals__.os.popen('true').read() }}")
    assert watched("open", inside)["noticed"] == []


def test_hostile_files_of_others_wake_none(shared):
    found = watched("open", shared / "malicious")
    assert found["files"] > 50
    assert found["noticed"] == []
