"""Every row of every table of the articles, written out: the catalogue holds it, and agrees or says why not.

A row is (when, what the article says to use, in its order); `differs` marks those that the catalogue
contradicts, which it may only with a reason and a date.
"""

import re
from pathlib import Path

import pytest

from fairway.map.catalogue import load_catalogue

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
TABLES = {
    "3/best-runtime": [
        ("raw speed", "tensorrt-llm"),
        ("an easy and stable API", "vllm nim"),
        ("production that scales", "triton"),
        ("local, offline", "llama-cpp ollama"),
    ],
    "3/nvidia-layers": [
        ("model development, for data scientists and researchers", "nemo"),
        ("packaging and serving, for MLOps and AI engineers", "nim"),
        ("inference optimisation, for MLOps and system engineers", "tensorrt tensorrt-llm"),
        ("serving infrastructure, for MLOps and DevOps engineers", "triton"),
        ("monitoring and scaling, for MLOps and platform engineers", "kubernetes helm argocd"),
    ],
    "3/model-files": [
        (
            "PyTorch checkpoints, pytorch_model.bin or model.safetensors",
            "vllm pytorch transformers triton tensorrt-llm",
        ),
        ("GGUF, model.Q4_K_M.gguf", "llama-cpp ollama koboldcpp lm-studio"),
        ("ONNX, model.onnx", "onnx-runtime triton"),
        ("TensorRT engine, model.plan", "tensorrt nim triton", "differs"),
        ("safetensors in shards", "vllm transformers"),
    ],
    "3/when-which-format": [
        ("the most from an H100 or A100", "tensorrt nim triton tensorrt-llm", "differs"),
        ("fast on a consumer GPU, 3090 or 4090", "safetensors vllm"),
        ("a Mac, a processor or a small GPU", "gguf ollama llama-cpp"),
        ("fine-tune or train", "safetensors pickle pytorch transformers"),
    ],
    "3/conversion": [
        ("PyTorch or Transformers", "transformers safetensors pickle"),
        ("vLLM", "vllm safetensors pickle"),
        ("ONNX Runtime", "onnx-runtime onnx"),
        ("TensorRT-LLM", "tensorrt-llm trtllm tensorrt", "differs"),
    ],
    "3/flows": [
        ("with vLLM", "vllm safetensors"),
        ("with ONNX", "onnx onnx-runtime"),
        ("with TensorRT-LLM", "trtllm-build tensorrt-llm nim triton", "differs"),
    ],
    "3/by-hardware": [
        ("H100 or A100 servers", "tensorrt-llm nim"),
        ("one consumer card, 4090 or 4080", "vllm"),
        ("a processor only", "onnx-runtime", "differs"),
        ("a laptop or a phone", "gguf llama-cpp"),
    ],
    "2/rules-of-thumb": [
        ("Intel processors and GPUs", "openvino"),
        ("Apple devices", "coreml llama-cpp"),
        ("trying things out locally", "ollama"),
        ("debugging, and keeping models in a standard format", "onnx"),
        ("something experimental that runs anywhere", "max"),
        ("most language models in production", "vllm"),
        ("more control for more complexity", "llama-cpp"),
        ("really large deployments", "tensorrt tensorrt-llm triton dynamo vllm llm-d aibrix"),
    ],
    "2/backends": [
        ("any architecture", "blas"),
        ("NVIDIA GPUs", "cuda"),
        ("AMD GPUs", "rocm"),
        ("Apple's M chips", "metal", "differs"),
    ],
    "2/engine-duties": [
        ("graph optimisation", "graph-optimisation"),
        ("hardware-specific optimisation", "tensorrt"),
        ("lower precision", "low-bit-weights"),
        ("pruning and sparsity", "pruning"),
    ],
    "2/general-engines": [
        ("several accelerators", "onnx-runtime"),
        ("NVIDIA", "tensorrt"),
        ("Intel", "openvino"),
        ("Apple", "coreml"),
    ],
    "4/landscape": [
        ("development: experiment tracking", "wandb mlflow"),
        ("development: model registries", "huggingface-hub mlflow"),
        ("development: fine-tuning", "hf-trainer openai-fine-tuning"),
        ("deployment: inference servers", "vllm tgi triton", "differs"),
        ("deployment: serverless GPU", "modal replicate"),
        ("deployment: edge", "onnx coreml"),
        ("infrastructure: GPU clouds", "lambda runpod"),
        ("infrastructure: containers", "docker kubernetes"),
        ("infrastructure: orchestration", "ray"),
    ],
    "4/features": [
        ("Hugging Face Hub: models", "huggingface-hub", "differs"),
        ("Hugging Face Hub: data sets", "huggingface-hub"),
        ("Hugging Face Hub: Spaces", "huggingface-hub"),
        ("Hugging Face Hub: price", "huggingface-hub"),
        ("W&B: tracking", "wandb"),
        ("W&B: visualisation", "wandb"),
        ("W&B: collaboration", "wandb"),
        ("W&B: price", "wandb"),
        ("MLflow: tracking", "mlflow"),
        ("MLflow: registry", "mlflow"),
        ("MLflow: deployment", "mlflow"),
        ("MLflow: price", "mlflow"),
        ("vLLM: throughput", "vllm"),
        ("vLLM: memory", "vllm"),
        ("vLLM: API", "vllm"),
        ("vLLM: price", "vllm"),
    ],
    "4/best-for": [
        ("research teams, comparing experiments, sweeps", "wandb"),
        ("open source, the whole life cycle", "mlflow"),
        ("production, high throughput", "vllm"),
        ("Hugging Face's ecosystem, easy deployment", "tgi", "differs"),
        ("local development, privacy, demos", "ollama"),
        ("quick deployment, trying models", "replicate"),
    ],
    "4/tuning-techniques": [
        ("all weights", "full-fine-tune"),
        ("LoRA", "lora"),
        ("QLoRA", "qlora"),
        ("prefix tuning", "prefix-tuning"),
    ],
    "4/quant-levels": [("Q8_0", "gguf"), ("Q5_K_M", "gguf"), ("Q4_K_M", "gguf"), ("Q2_K", "gguf")],
    "4/by-stage": [
        ("experimentation", "wandb mlflow"),
        ("fine-tuning", "transformers hf-trainer"),
        ("local development", "ollama"),
        ("production serving", "vllm"),
        ("serverless", "modal"),
        ("edge", "onnx-runtime llama-cpp"),
    ],
    "4/by-team": [
        ("alone or few", "ollama replicate modal"),
        ("a start-up", "vllm runpod lambda"),
        ("an enterprise", "vllm kubernetes aws gcp azure"),
    ],
    "4/training-costs": [
        ("spot instances", "resumable-jobs"),
        ("mixed precision", "mixed-precision"),
        ("gradient checkpointing", "gradient-checkpointing"),
        ("LoRA instead of all weights", "lora"),
    ],
    "4/inference-costs": [
        ("quantisation", "low-bit-weights"),
        ("batching", "continuous-batching"),
        ("caching", "radix-attention"),
        ("smaller models", "model-families"),
    ],
    "4/checklist": [
        ("model versioning", "production-checklist"),
        ("health checks", "production-checklist"),
        ("autoscaling", "production-checklist"),
        ("monitoring", "production-checklist"),
        ("rollback plan", "production-checklist"),
        ("cost alerts", "production-checklist"),
    ],
    "1/roles": [
        ("algorithm engineers", "pytorch lora"),
        ("infra engineers", "safetensors gguf onnx onnx-runtime openvino mlx"),
        ("application engineers", "openai-api sentence-transformers"),
        ("MLOps engineers", "vllm sglang xinference"),
    ],
    "1/what-solves-what": [
        ("weights that run no code", "safetensors"),
        ("local inference on a processor", "gguf llama-cpp"),
        ("one model on many platforms in a company", "onnx onnx-runtime"),
        ("fine-tuning on a consumer GPU", "lora"),
        ("many users at once", "vllm"),
        ("agents and long conversations", "sglang"),
        ("a private platform for many kinds of models", "xinference"),
        ("handing a model to somebody who installs nothing", "llamafile"),
        ("Apple silicon", "mlx"),
        ("Intel processors, GPUs and NPUs from one file", "openvino"),
        ("one command on one's own machine", "ollama"),
    ],
}
ROWS = [(table, *row) for table, rows in TABLES.items() for row in rows]
# Article 3, which runtime takes safetensors, GGUF, ONNX and TensorRT engines; then what is so now.
SUPPORT = {
    "vllm": ("yes no limited no", "yes limited no no"),
    "transformers": ("yes no yes no", "yes limited after no"),
    "tensorrt-llm": ("after no no yes", "yes no no no"),
    "nim": ("after no some yes", "yes no some some"),
    "triton": ("yes no yes yes", "limited no yes yes"),
    "ollama": ("no yes no no", "some yes no no"),
    "llama-cpp": ("no yes no no", "after yes no no"),
}
WORDS = {"after": "after conversion", "some": "some models"}
# Factors and shares that rows state: low and high.
FIGURES = {
    "cost-spot": (0.6, 0.9),
    "cost-mixed-precision": (2, 2),
    "cost-lora": (10, 100),
    "cost-quantisation": (2, 4),
    "cost-batching": (5, 10),
    "vllm-throughput": (2, 24),
    "hub-models": (500_000, None),
    "hub-datasets": (100_000, None),
}
# Article 4's table of techniques and of quantisation levels, in its own words.
TECHNIQUES = {
    "technique-full": ("high", "best", "slow"),
    "technique-lora": ("low", "good", "fast"),
    "technique-qlora": ("very low", "good", "fast"),
    "technique-prefix": ("low", "OK", "fast"),
}
LEVELS = {
    "q8_0": (8.0, "Best", "Slower", 7.95),
    "q5_k_m": (5.0, "Good", "Medium", 5.33),
    "q4_k_m": (4.0, "OK", "Faster", 4.58),
    "q2_k_mix": (3.0, "Lower", "Fastest", 2.95),
}
LLAMA_8B_PARAMETERS = 8_030_261_248


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1][:24]}")
def test_a_row_is_in_the_catalogue_and_agreed_with_or_answered(row):
    table, when, use, *verdict = row
    (found,) = (
        each for each in CATALOGUE.recommendations.values() if (each.table, each.when) == (table, when)
    )
    assert found.use == tuple(use.split())
    assert found.article == f"article-{table[0]}"
    assert (found.holds == "differs") == (verdict == ["differs"])
    if found.holds != "yes":
        assert found.because and found.date, "only with a reason and a date"


def test_the_catalogue_invents_no_row():
    known = {(table, when) for table, when, *_ in ROWS}
    assert {(each.table, each.when) for each in CATALOGUE.recommendations.values()} == known


@pytest.mark.parametrize("runtime", SUPPORT)
def test_a_row_of_the_support_table(runtime):
    article, now = ([WORDS.get(word, word) for word in text.split()] for text in SUPPORT[runtime])
    cells = [CATALOGUE.support[f"{runtime}-{name}"] for name in ("safetensors", "gguf", "onnx", "tensorrt")]
    assert [cell.article for cell in cells] == article
    assert [cell.now for cell in cells] == now


def test_what_supports_a_format_now_reads_it_on_the_map():
    for cell in CATALOGUE.support.values():
        reads = cell.format in CATALOGUE.tools[cell.tool].reads
        assert reads or cell.now not in ("yes",), cell.id
        assert not reads or cell.now != "no", cell.id


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(name):
    row = CATALOGUE.recommendations[name]
    assert (row.low, row.high) == FIGURES[name]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique(name):
    says = CATALOGUE.recommendations[name].says
    assert says == "memory {}, quality {}, {}".format(*TECHNIQUES[name])


@pytest.mark.parametrize("name", LEVELS)
def test_a_quantisation_level_and_what_it_really_takes(name):
    article_gb, quality, speed, gib = LEVELS[name]
    row = CATALOGUE.quantisations[name]
    assert (row.article_gb, row.article_quality, row.article_speed) == (article_gb, quality, speed)
    predicted = LLAMA_8B_PARAMETERS * row.bits_per_weight / 8 / 2**30
    assert predicted == pytest.approx(gib, rel=0.005)


# The tables that the articles print, in their order: how many rows each has here.
PRINTED = {
    "article-3": [
        len(TABLES["3/nvidia-layers"]),
        len(TABLES["3/model-files"]),
        len(SUPPORT),
        len(TABLES["3/when-which-format"]),
        len(TABLES["3/conversion"]),
        len(TABLES["3/by-hardware"]),
    ],
    "article-4": [
        *(sum(when.startswith(name) for when, *_ in TABLES["4/features"]) for name in ("Hug", "W&B", "MLf")),
        len(TABLES["4/tuning-techniques"]),
        sum(when.startswith("vLLM") for when, *_ in TABLES["4/features"]),
        len({price.provider for price in CATALOGUE.prices.values() if price.sources == ("article-4",)
             and price.unit == "hour"}),
        sum("Reliability" in price.note for price in CATALOGUE.prices.values()),
        len(TABLES["4/quant-levels"]),
        len(TABLES["4/by-stage"]),
        len(TABLES["4/by-team"]),
        len(TABLES["4/training-costs"]),
        len(TABLES["4/inference-costs"]),
    ],
}  # fmt: skip
FIELD = Path(__file__).parents[3] / "shared" / "field"


@pytest.mark.skipif(not FIELD.is_dir(), reason="the articles are not on this machine")
@pytest.mark.parametrize("article", PRINTED)
def test_no_printed_row_is_missing(article):
    text = (FIELD / f"{article}.txt").read_text("utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert [table.count("\n") - 2 for table in tables] == PRINTED[article]


@pytest.mark.skipif(not FIELD.is_dir(), reason="the articles are not on this machine")
def test_no_printed_rule_or_box_is_missing():
    rules = re.findall("^\N{RIGHTWARDS ARROW} ", (FIELD / "article-2.txt").read_text("utf-8"), re.MULTILINE)
    boxes = re.findall(r"^- \[ \]", (FIELD / "article-4.txt").read_text("utf-8"), re.MULTILINE)
    wishes = re.findall(r"^If you want", (FIELD / "article-3.txt").read_text("utf-8"), re.MULTILINE)
    assert len(rules) == len(TABLES["2/rules-of-thumb"])
    assert len(boxes) == len(TABLES["4/checklist"])
    assert len(wishes) == len(TABLES["3/best-runtime"])
