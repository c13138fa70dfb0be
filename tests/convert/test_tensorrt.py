"""Engines as cache entries. No GPU and no TensorRT is at hand: programs on PATH stand in for them and note
what they were asked, so these tests prove the contract with the tools and nothing of their engines."""

import json
import os
import sys

import pytest
from model_folders import LLAMA, converted, make_folder

from fairway.cli import main
from fairway.convert.tensorrt_plan import EngineKey, EngineSettings, graph_plan, parse_size
from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.onnx import open_onnx
from fairway.formats.open import open_bundle

NVIDIA_SMI = "print('NVIDIA H200, 9.0')"
TRTLLM = """
import pathlib
out = pathlib.Path(sys.argv[sys.argv.index('--output_dir') + 1])
assert (out / 'checkpoint' / 'config.json').exists()
(out / 'rank0.engine').write_bytes(b'ftrt' + bytes(8))
(out / 'config.json').write_text('{}')
"""
PYTHON = """
import pathlib
if len(sys.argv) == 3:
    print('1.0.0 10.11.0')
else:
    pathlib.Path(sys.argv[4]).mkdir()
    (pathlib.Path(sys.argv[4]) / 'config.json').write_text('{}')
"""
TRTEXEC = """
import pathlib
if '--help' in sys.argv:
    print('&&&& RUNNING TensorRT.trtexec [TensorRT v101100] [b33] # trtexec --help')
else:
    [out] = [each.partition('=')[2] for each in sys.argv if each.startswith('--saveEngine')]
    pathlib.Path(out).write_bytes(b'ftrt' + bytes(8))
"""


class Tools:
    """A folder on PATH with programs that note their arguments."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "log"
        folder.mkdir()

    def add(self, name, body):
        note = f"open({str(self.log)!r}, 'a').write(json.dumps([{name!r}, *sys.argv[1:]]) + '\\n')"
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nimport json, sys\n{note}\n{body}\n")
        path.chmod(0o755)

    def calls(self, name):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [call[1:] for call in map(json.loads, lines) if call[0] == name]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    tools = Tools(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tools.folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bodies = {"nvidia-smi": NVIDIA_SMI, "trtllm-build": TRTLLM, "python3": PYTHON, "trtexec": TRTEXEC}
    for name, body in bodies.items():
        tools.add(name, body)
    return tools


@pytest.fixture
def engines(tmp_path):
    return tmp_path / "cache" / "fairway" / "engines"


def run(capsys, *arguments):
    """Status, output and errors of `fairway tensorrt`, or of another command."""
    command = arguments if arguments[0] in ("cache",) else ("tensorrt", *arguments)
    status = main.run([*map(str, command)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_decoder_is_built_once_by_the_exact_commands(model, tools, engines, capsys):
    status, out, _ = run(capsys, model, "--max-batch", 4, "--max-context", 128, "--type", "bf16")
    assert status == 0 and out.endswith("built\n")
    [folder] = engines.glob("[!.]*")
    assert {path.name for path in folder.iterdir()} == {"rank0.engine", "config.json", "manifest.json"}
    part = f"{engines}/.{folder.name}.part"
    assert tools.calls("python3")[1][2:] == [str(model), f"{part}/checkpoint", "bfloat16"]
    assert tools.calls("trtllm-build") == [
        ["--checkpoint_dir", f"{part}/checkpoint", "--output_dir", part, "--gemm_plugin", "auto",
         "--max_batch_size", "4", "--max_input_len", "127", "--max_seq_len", "128"]
    ]  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["key"]["gpu"] == "NVIDIA H200, 9.0"
    assert manifest["key"]["tool"] == "trtllm-build, TensorRT-LLM 1.0.0, TensorRT 10.11.0"
    assert manifest["key"]["precision"] == "BF16" and manifest["path"] == str(model)
    status, out, _ = run(capsys, model, "--max-batch", 4, "--max-context", 128, "--type", "bf16")
    assert out == f"{folder} found, nothing has changed\n"
    assert len(tools.calls("trtllm-build")) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("gpu", "GPU was NVIDIA H200, 9.0, is NVIDIA L4, 8.9"),
        ("version", "version was trtllm-build, TensorRT-LLM 1.0.0, TensorRT 10.11.0, is trtllm-build, "),
        ("shapes", "shapes was batch up to 8, 128 tokens, is batch up to 2, 128 tokens"),
        ("precision", "precision was F16, is F32"),
        ("source", "source was sha256:"),
    ],
)
def test_what_an_engine_depends_on_makes_it_anew_and_is_named(change, words, model, tools, engines, capsys):
    run(capsys, model)
    flags = {"shapes": ["--max-batch", 2], "precision": ["--type", "f32"]}.get(change, [])
    if change == "gpu":
        tools.add("nvidia-smi", "print('NVIDIA L4, 8.9')")
    elif change == "version":
        tools.add("python3", PYTHON.replace("1.0.0", "1.1.0"))
    elif change == "source":
        with (model / "model.safetensors").open("r+b") as file:
            file.seek(-4, 2)
            file.write(b"abcd")
    status, out, err = run(capsys, model, *flags)
    assert status == 0 and out.endswith("built\n")
    assert f"Building: {words}" in " ".join(err.split())
    assert err.count("Building:") == 1
    assert len(list(engines.glob("[!.]*"))) == 2


def test_a_graph_goes_through_trtexec(tmp_path, model, tools, engines, capsys):
    converted(model, "onnx", tmp_path / "onnx")
    status, _, _ = run(capsys, tmp_path / "onnx", "--max-context", 64, "--max-batch", 2)
    assert status == 0
    [call] = tools.calls("trtexec")[1:]
    [folder] = engines.glob("[!.]*")
    assert call[:4] == [
        f"--onnx={tmp_path / 'onnx' / 'model.onnx'}",
        f"--saveEngine={engines}/.{folder.name}.part/model.engine",
        "--skipInference",
        "--fp16",
    ]
    shapes = {flag.partition("=")[0]: flag.partition("=")[2].split(",") for flag in call[4:]}
    assert shapes["--minShapes"][:3] == ["input_ids:1x1", "attention_mask:1x1", "position_ids:1x1"]
    assert shapes["--optShapes"][:2] == ["input_ids:1x1", "attention_mask:1x33"]
    assert shapes["--maxShapes"][:2] == ["input_ids:2x64", "attention_mask:2x64"]
    assert "past_key_values.0.key:1x2x0x16" in shapes["--minShapes"]
    assert "past_key_values.1.value:2x2x63x16" in shapes["--maxShapes"]


def test_weights_beside_a_graph_are_a_part_of_its_source(tmp_path, model, tools, capsys):
    converted(model, "onnx", tmp_path / "onnx")
    run(capsys, tmp_path / "onnx")
    with (tmp_path / "onnx" / "model.onnx.data").open("r+b") as file:
        file.write(b"abcd")
    _, out, err = run(capsys, tmp_path / "onnx")
    assert out.endswith("built\n") and "Building: source was" in err


def test_sizes_that_a_graph_leaves_open_are_asked_for(shared):
    model = open_onnx(shared / "models" / "magika" / "model.onnx")
    with pytest.raises(SettingsError, match="leaves the size of") as error:
        graph_plan(model, EngineSettings())
    assert "--size" in error.value.hint
    name = error.value.message.rpartition("size of ")[2].partition(" open")[0]
    plan = graph_plan(model, EngineSettings(sizes=dict([parse_size(f"{name}=1:8:64")])))
    assert "--maxShapes=bytes:64x" in plan.shapes
    fixed = graph_plan(open_onnx(shared / "models" / "mnist" / "opt-mnist.onnx"), EngineSettings())
    assert fixed.shapes == "fixed" or "Shapes" in fixed.shapes


@pytest.mark.parametrize("text", ["x", "x=1", "x=1:2", "x=a:b:c", "=1:2:3", "x=3:2:1"])
def test_ranges_that_are_none_are_refused(text):
    with pytest.raises(SettingsError):
        parse_size(text)


def test_a_tool_that_fails_leaves_nothing(model, tools, engines, capsys):
    tools.add("trtllm-build", "sys.exit('out of memory')")
    status, _, err = run(capsys, model)
    assert status == 10
    assert "trtllm-build ended with 1: out of memory" in err and "Traceback" not in err
    assert not list(engines.glob("[!.]*")) and not list(engines.glob("*.part"))
    tools.add("trtllm-build", "")
    status, _, err = run(capsys, model)
    assert status == 10 and "trtllm-build ended without an engine" in err
    assert not list(engines.glob("[!.]*"))


def test_a_machine_without_the_tool_or_the_gpu_says_so(model, tools, capsys):
    (tools.folder / "nvidia-smi").unlink()
    status, _, err = run(capsys, model)
    assert status == 8 and "nvidia-smi names no GPU here" in err
    (tools.folder / "trtllm-build").unlink()
    status, _, err = run(capsys, model)
    assert status == 8 and "trtllm-build is not on this machine" in err
    status, out, _ = run(capsys, model, "--dry-run")
    assert status == 0 and "trtllm-build --checkpoint_dir" in out and "none found here" in out


def test_the_plan_as_json_is_what_would_run(model, tools, engines, capsys):
    status, out, _ = run(capsys, model, "--dry-run", "--json")
    plan = json.loads(out)
    assert status == 0 and not engines.exists()
    assert EngineKey(**plan["key"]).value == plan["digest"]
    assert [command[0].rpartition("/")[2] for command in plan["commands"]] == ["python3", "trtllm-build"]


def test_the_cache_lists_and_clears_engines(model, tools, engines, capsys):
    run(capsys, model)
    _, out, _ = run(capsys, "cache", "--json")
    [entry] = json.loads(out)["entries"]
    assert entry["model"] == "model" and entry["weights"] == "TensorRT engine, F16, NVIDIA H200, 9.0"
    status, _, _ = run(capsys, "cache", "clear", model)
    assert status == 0 and not list(engines.glob("[!.]*"))


@pytest.mark.parametrize("name", ["model.engine", "model.plan", "other.bin"])
def test_an_engine_is_no_source(name, tmp_path):
    head = b"ftrt" if name == "other.bin" else b"\1\0\0\0"
    (tmp_path / name).write_bytes(head + bytes(100))
    for path in (tmp_path / name, *([] if name == "other.bin" else [tmp_path])):
        with pytest.raises(UnsupportedError, match="is a TensorRT engine, built for one GPU") as error:
            open_bundle(path)
        assert error.value.hint.startswith("Use the model it was built from")


def test_other_containers_are_sent_through_a_folder(tmp_path, tools, capsys):
    model = make_folder(tmp_path / "model", LLAMA)
    converted(model, "gguf", tmp_path / "x.gguf")
    status, _, err = run(capsys, tmp_path / "x.gguf")
    assert status == 4 and "--to safetensors" in err
