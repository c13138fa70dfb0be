"""What the map says of a machine, from recorded findings: a bare laptop, a GPU server, a Mac."""

import pytest

from fairway.map import landscape as module
from fairway.map.catalogue import load_catalogue
from fairway.map.landscape import Findings, View, landscape, look_around, places

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
BARE = Findings(frozenset({"cpu"}), frozenset(), frozenset())
SERVER = Findings(
    frozenset({"cpu", "nvidia"}), frozenset({"torch", "vllm"}), frozenset({"docker", "nvidia-smi", "kubectl"})
)
MAC = Findings(frozenset({"cpu", "apple"}), frozenset({"mlx"}), frozenset({"ollama"}))
TUNER = Findings(frozenset({"cpu"}), frozenset({"torch"}), frozenset(), frozenset({"tune"}))
CASES = [
    ("fairway", BARE, "ready", ""),
    ("pytorch", BARE, "possible", "not installed"),
    ("pytorch", SERVER, "ready", ""),
    ("vllm", SERVER, "ready", ""),
    ("tensorrt-llm", BARE, "hardware", "an NVIDIA GPU"),
    ("tensorrt-llm", SERVER, "possible", "not installed"),
    ("tgi", MAC, "hardware", "an NVIDIA GPU or an AMD GPU"),
    ("coreml", BARE, "hardware", "Apple silicon"),
    ("mlx", MAC, "ready", ""),
    ("ollama", MAC, "ready", ""),
    ("modal", SERVER, "account", "an account"),
    ("aibrix", SERVER, "cluster", "Kubernetes"),
    ("dynamo", SERVER, "cluster", "several machines"),
    ("rlhf", BARE, "possible", ""),
    ("paged-attention", BARE, "ready", ""),
    ("lora", BARE, "possible", 'pip install "fairway[tune]"'),
    ("lora", TUNER, "ready", ""),
    ("openai-fine-tuning", BARE, "possible", 'pip install "fairway[tune]"'),
    ("openai-fine-tuning", TUNER, "ready", ""),
    ("production-checklist", BARE, "ready", ""),
    ("vllm", None, "unknown", ""),
    ("modal", None, "account", "an account"),
]


@pytest.mark.parametrize(("tool", "findings", "state", "lacks"), CASES)
def test_a_tool_on_a_machine(tool, findings, state, lacks):
    (place,) = (each for each in places(CATALOGUE, findings) if each.tool.id == tool)
    assert (place.state, place.lacks) == (state, lacks)


def ids(view, findings=BARE):
    return {place.tool.id for place in landscape(CATALOGUE, findings, view).places}


def test_without_a_view_everything_is_shown_stage_after_stage():
    shown = landscape(CATALOGUE, BARE, View())
    assert len(shown.places) == len(CATALOGUE.tools) > 100
    orders = [CATALOGUE.stages[place.tool.stage].order for place in shown.places]
    assert orders == sorted(orders)
    assert set(shown.lanes) == set(CATALOGUE.conversions.values())


def test_what_a_role_sees_and_ignores_is_everything_once():
    for role in CATALOGUE.roles:
        theirs, others = ids(View(role=role)), ids(View(role=role, ignored=True))
        assert theirs | others == set(CATALOGUE.tools) and not theirs & others


def test_the_articles_examples_of_what_to_ignore():
    algorithm, infra = ids(View(role="algorithm", ignored=True)), ids(View(role="infra", ignored=True))
    assert {"vllm", "paged-attention", "kubernetes"} <= algorithm
    assert {"lora", "dpo", "wandb"} <= infra
    assert {"tensorrt-llm", "kubernetes", "lora"} <= ids(View(role="application", ignored=True))


def test_a_format_shows_who_touches_it_and_its_lanes():
    shown = landscape(CATALOGUE, BARE, View(format="gguf"))
    assert {"llama-cpp", "ollama", "fairway", "koboldcpp"} <= {place.tool.id for place in shown.places}
    assert "vllm" not in {place.tool.id for place in shown.places}
    assert all("gguf" in (lane.reads, lane.writes) for lane in shown.lanes) and len(shown.lanes) >= 8
    assert {"gguf", "safetensors", "onnx"} <= {each.id for each in shown.formats}


def test_filters_are_joined():
    assert ids(View(role="infra", stage="run", format="onnx")) == {
        "fairway", "onnx-runtime", "openvino", "tensorrt", "sentence-transformers",
    }  # fmt: skip


def test_looking_around_reads_path_and_module_names_only(monkeypatch):
    monkeypatch.setattr(
        module.shutil, "which", lambda name: f"/bin/{name}" if name in ("nvidia-smi", "ollama") else None
    )
    monkeypatch.setattr(module, "_is_installed", lambda name: name == "torch")
    monkeypatch.setattr(module.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
    found = look_around(CATALOGUE)
    assert found == Findings(
        frozenset({"cpu", "nvidia", "apple"}),
        frozenset({"torch"}),
        frozenset({"nvidia-smi", "ollama"}),
        frozenset({"tune"}),
    )


def test_a_broken_package_is_not_installed(monkeypatch):
    def broken(name):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(module.importlib.util, "find_spec", broken)
    assert look_around(CATALOGUE).modules == frozenset()
