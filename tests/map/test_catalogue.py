"""The catalogue's own files: complete, true to the code, and every reference and path leads somewhere."""

from pathlib import Path

import pytest

from fairway.convert.hops import HOPS
from fairway.formats.gguf_types import BY_NAME
from fairway.map.catalogue import load_catalogue
from fairway.map.catalogue.catalogue import named, plain
from fairway.map.catalogue.schema import KINDS

SOURCE = Path(__file__).parents[2] / "src" / "fairway"
NUM_SYSTEMS = 84
CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
# Of each row of the survey of systems one or more names that people would look for.
SYSTEMS = {
    1: "PyTorch",
    2: "TensorFlow",
    3: "NVIDIA NeMo",
    4: "Hugging Face Trainer",
    5: "Full fine-tuning",
    6: "LoRA",
    7: "QLoRA",
    8: "Prefix tuning",
    9: "OpenAI fine-tuning API",
    10: "RLHF",
    11: "Knowledge distillation",
    12: "Mixed precision",
    13: "YOLO",
    14: "scikit-learn",
    15: "DialoGPT",
    16: "safetensors",
    17: "PyTorch checkpoint (.bin, .pt)",
    18: "GGUF",
    19: "Q4_K_M",
    20: "SmoothQuant",
    21: "ONNX",
    22: "onnxruntime.transformers.optimizer",
    23: "Netron",
    24: "TensorRT engine",
    25: "TensorRT-LLM checkpoint",
    26: "TorchScript",
    27: "Core ML package",
    28: "OpenVINO IR",
    29: "optimum-cli (Hugging Face Optimum)",
    30: "Ollama Modelfile",
    31: "Weights with their sidecars",
    32: "Transformers",
    33: "Diffusers",
    34: "sentence-transformers",
    35: "ONNX Runtime",
    36: "NVIDIA TensorRT",
    37: "TensorRT-LLM",
    38: "OpenVINO",
    39: "OpenVINO GenAI",
    40: "MLX",
    41: "Core ML",
    42: "llama.cpp",
    43: "Mojo",
    44: "LMDeploy",
    45: "FlashAttention",
    46: "PagedAttention",
    47: "Continuous batching",
    48: "RadixAttention",
    49: "Speculative decoding",
    50: "Tensor parallel",
    51: "Kernel fusion",
    52: "cuDNN",
    53: "vLLM",
    54: "SGLang",
    55: "TGI",
    56: "Ollama",
    57: "llama.cpp server",
    58: "Cosmopolitan Libc",
    59: "Xinference",
    60: "Triton",
    61: "NVIDIA NIM",
    62: "koboldcpp",
    63: "BentoML",
    64: "LMCache",
    65: "NVIDIA Dynamo",
    66: "NIXL",
    67: "AirBrix",
    68: "llm-d",
    69: "Ray Serve",
    70: "Argo CD",
    71: "MLflow",
    72: "Weights & Biases",
    73: "Hugging Face Hub",
    74: "Modal",
    75: "Replicate",
    76: "Together AI",
    77: "OpenAI client and API",
    78: "RunPod",
    79: "Spot instances",
    80: "Production checklist",
    81: "Cost factors",
    82: "Selection guides",
    83: "MLOps engineer",
    84: "Courses (Hugging Face, MLOps guide, Full Stack Deep Learning)",
}
MORE_NAMES = [
    "SFT",
    "DPO",
    "GRPO",
    "RLAIF",
    "AWQ",
    "GPTQ",
    "lm-studio",
    "TorchServe",
    "tensorflow-serving",
    "FastAPI",
    "Anyscale",
    "Kubernetes",
    "Helm",
    "Docker",
    "Lambda",
    "Vast.ai",
    "AWS",
    "GCP",
    "Azure",
    "CUDA",
    "ROCm",
    "HIP",
    "Metal",
    "Vulkan",
    "BLAS",
    "MLIR",
    "TPU",
    "MPS",
    "W&B",
    "trtllm-build",
    "Llamafile",
    "pruning",
]


def entries():
    return [(kind, each) for kind in KINDS for each in getattr(CATALOGUE, kind).values()]


def test_every_system_of_the_survey_has_its_row():
    rows = {row for _, each in entries() for row in getattr(each, "rows", ())}
    assert rows == set(range(1, NUM_SYSTEMS + 1)) == set(SYSTEMS)


@pytest.mark.parametrize("row", SYSTEMS)
def test_a_system_is_found_by_its_name_under_its_row(row):
    wanted = plain(SYSTEMS[row])
    found = [
        each
        for _, each in entries()
        if row in getattr(each, "rows", ())
        and wanted in {plain(name) for name in (each.id, getattr(each, "name", ""), getattr(each, "what", ""),
                                                *getattr(each, "aliases", ()))}
    ]  # fmt: skip
    assert found, SYSTEMS[row]


@pytest.mark.parametrize("name", MORE_NAMES)
def test_systems_that_share_a_row_are_found_too(name):
    assert plain(name) in named(CATALOGUE.tools) or plain(name) in named(CATALOGUE.terms)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_fairway_that_is_named_exists(kind):
    for each in getattr(CATALOGUE, kind).values():
        for path in getattr(each, "paths", ()):
            assert (SOURCE / path).is_file(), f"{kind}.{each.id} names {path}"


def test_everything_has_a_source():
    for kind, each in entries():
        assert getattr(each, "sources", ("itself",)), f"{kind}.{each.id}"


def test_what_fairway_has_says_how_and_where():
    for tool in CATALOGUE.tools.values():
        assert (tool.fairway == "knows") == (not tool.says), tool.id
    for each in CATALOGUE.formats.values():
        assert (each.fairway == "knows") == (not each.paths), each.id
        assert (
            (each.fairway == "knows")
            or each.containers
            or each.kind in ("adapter", "recipe")
            or each.rows == (25,)
        )


def test_lanes_by_fairway_are_its_hops():
    formats = {name: each.id for each in CATALOGUE.formats.values() for name in each.containers}
    formats |= {"huggingface": "safetensors", "onnx": "onnx", "gguf": "gguf"}
    hops = {(formats[source], formats[hop.target]) for hop in HOPS for source in hop.sources}
    lanes = {(lane.reads, lane.writes) for lane in CATALOGUE.conversions.values() if lane.by == "fairway"}
    beside = {
        ("peft", "safetensors"),
        ("gguf-lora", "gguf"),
        ("onnx", "tensorrt"),
        ("safetensors", "tensorrt"),
    }
    assert lanes - beside == hops


def test_bits_of_gguf_types_follow_from_their_blocks():
    checked = 0
    for each in CATALOGUE.quantisations.values():
        name = each.name.removesuffix(" (type)")
        if each.kind in ("block", "k-quant", "i-quant", "ternary"):
            row = BY_NAME[name]
            assert each.bits_per_weight == row.block_bytes * 8 / row.block_size, name
            assert each.block == row.block_size, name
            assert (each.fairway != "knows") == row.is_readable, name
            checked += 1
    assert checked >= 20


def test_glossary_is_large_and_plain():
    assert len(CATALOGUE.terms) >= 100
    for term in CATALOGUE.terms.values():
        assert 20 <= len(term.text) <= 400, term.id
        assert term.text.endswith("."), term.id
    assert sum(bool(term.paths) for term in CATALOGUE.terms.values()) >= 80


def test_names_of_terms_lead_to_one_term_each():
    seen = {}
    for term in CATALOGUE.terms.values():
        for name in {plain(each) for each in (term.name, term.id)}:
            assert seen.setdefault(name, term.id) == term.id, name


def test_hardware_has_what_a_plan_needs():
    for device in CATALOGUE.hardware.values():
        if device.kind in ("gpu", "soc", "accelerator"):
            assert device.memory_gb and device.bandwidth_gb_s, device.id
        if device.vendor == "nvidia" and device.int8_tops and device.fp16_tflops:
            assert 1.9 <= device.int8_tops / device.fp16_tflops <= 4.1, device.id
    vendors = {device.vendor for device in CATALOGUE.hardware.values()}
    assert vendors >= {"nvidia", "amd", "intel", "apple", "arm", "x86"}


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("H100", "h100"),
        ("RTX 4090", "rtx4090"),
        ("rtx4090", "rtx4090"),
        ("4090", "rtx4090"),
        ("M3", "m3"),
        ("A100 40GB", "a100"),
        ("AVX-512", "cpu-avx512"),
        ("Apple M4 Max", "m4-max"),
        ("npu", "npu-core-ultra-1"),
    ],
)
def test_devices_go_by_many_names(name, device):
    assert CATALOGUE.device(name).id == device


def test_disagreements_keep_every_statement_and_say_which_holds():
    assert len(CATALOGUE.disagreements) >= 25
    for each in CATALOGUE.disagreements.values():
        assert len(each.statements) >= 2 and each.now.endswith((".", ")")) and each.date, each.id
        assert any(CATALOGUE.sources[said.source].kind == "article" for said in each.statements), each.id


def test_what_no_longer_holds_has_a_dated_reason():
    for each in (*CATALOGUE.recommendations.values(), *CATALOGUE.support.values()):
        changed = each.holds != "yes" if hasattr(each, "holds") else each.article != each.now
        assert not changed or (each.because and each.date), each.id
        assert getattr(each, "holds", "") != "differs" or each.now or each.low is not None, each.id


def test_stages_of_recommendations_are_stages():
    for each in CATALOGUE.recommendations.values():
        assert each.stage in ("", *CATALOGUE.stages), each.id
