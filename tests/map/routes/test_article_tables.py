"""Every row of every selection table in the articles: the planner gives that recommendation, or the catalogue
holds the dated reason why it differs now.
"""

import re

import pytest
from route_facts import CATALOGUE, LLAMA_8B, answer, devices, finder

from fairway.map.catalogue.schema import Recommendation
from fairway.map.engines import engines
from fairway.map.production import checklist
from fairway.map.routes.lanes import way
from fairway.map.routes.tuning import plan_tuning

ROWS = list(CATALOGUE.recommendations.values())
# Rows that the planner answers: which goal, on which devices. The rest is knowledge.
PLANNED = {
    "fast-tensorrt-llm": [("latency", "h100"), ("latency", "a100")],
    "easy-vllm-nim": [("throughput", "rtx4090"), (None, "this")],
    "local-llama-cpp-ollama": [(None, "m3"), (None, "m1")],
    "goal-h100": [("latency", "h100"), ("throughput", "a100")],
    "goal-consumer-gpu": [(None, "rtx3090"), (None, "rtx4090"), ("throughput", "rtx3090")],
    "goal-mac-cpu": [(None, "m3"), (None, "this"), (None, "rtx3060"), ("latency", "desktop ddr5")],
    "hardware-h100": [(None, "h100"), ("throughput", "h100"), (None, "a100")],
    "hardware-consumer": [(None, "rtx4090"), ("throughput", "rtx4080")],
    "hardware-cpu": [(None, "this"), ("latency", "this"), ("throughput", "desktop ddr5")],
    "hardware-laptop": [(None, "m1"), ("latency", "m3")],
    "rule-intel": [(None, "arc a770"), ("latency", "arc a770"), (None, "this")],
    "rule-apple": [(None, "m1"), (None, "m3"), (None, "m4")],
    "rule-vllm": [("throughput", "rtx4090"), ("throughput", "mi300x"), ("throughput", "this")],
    "rule-large-scale": [("throughput", "h100")],
    "best-vllm": [("throughput", "rtx4090"), ("throughput", "mi300x")],
    "stage-production": [("throughput", "rtx3090"), ("throughput", "this")],
    "solve-local": [(None, "m3")],
    "solve-throughput": [("throughput", "rtx4080"), ("throughput", "this")],
    "solve-intel": [(None, "arc a770")],
    "team-startup": [("throughput", "rtx4090")],
}
TRAINED = ("goal-train", "stage-tuning", "technique-lora", "solve-cheap-tuning", "role-algorithm")
# Whether the way from a Hugging Face folder needs a conversion: article 3, "Conversion needed?".
CONVERSIONS = {
    "convert-transformers": ("transformers-cpu", 0),
    "convert-vllm": ("vllm", 0),
    "convert-ort": ("onnx-runtime-cpu", 1),
    "convert-trtllm": ("tensorrt-llm", 0),
    "flow-vllm": ("vllm", 0),
    "flow-onnx": ("onnx-runtime-cpu", 1),
    "flow-trtllm": ("tensorrt-llm", 0),
}
CHECKLIST = "4/checklist"


def test_no_row_is_left_out():
    named = {*PLANNED, *TRAINED, *CONVERSIONS}
    assert named <= {row.id for row in ROWS}
    assert len(ROWS) > 100


def accepted(row: Recommendation) -> set[str]:
    """What the article recommends, and what the catalogue recommends now; a format stands for its readers."""
    names = {*row.use, *row.now}
    tools = {tool.id for tool in CATALOGUE.tools.values() if names & set(tool.reads) & {"gguf", "mlx"}}
    return names | tools | ({"openvino-genai"} if "openvino" in names else set())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_holds_or_says_why_not(row):
    if row.holds != "yes":
        assert len(row.because) > 20, f"{row.id} differs from article {row.article} without a reason"
        assert re.fullmatch(r"\d{4}(-\d\d){0,2}", row.date), row.id
    assert row.use or row.because


@pytest.mark.parametrize(
    ("row", "goal", "on"), [(row, goal, on) for row, asked in PLANNED.items() for goal, on in asked]
)
def test_the_planner_gives_the_recommendation(row, goal, on):
    found = answer(goal, on, LLAMA_8B).best
    assert engines()[found.engine].tool in accepted(CATALOGUE.recommendations[row]), found.name


@pytest.mark.parametrize("on", ["m1", "m3", "m4"])
def test_mlx_is_offered_on_apple_silicon(on):
    found = answer(None, on, LLAMA_8B)
    tools = {found.best.tool, *(route.tool for route, _ in found.alternatives)}
    assert CATALOGUE.tools["mlx"].name in tools and "mlx" in CATALOGUE.recommendations["solve-apple"].use


@pytest.mark.parametrize("row", TRAINED)
def test_training_is_pytorch_from_safetensors_with_lora_first(row):
    ways = plan_tuning(finder("train"), devices("this"))
    assert ways.to_dict()["runtime"] == "PyTorch" and ways.format == "safetensors"
    assert ways.best.method == "lora"
    known = {*CATALOGUE.recommendations[row].use, *CATALOGUE.recommendations[row].now}
    assert known & {"pytorch", "lora", "transformers", "hf-trainer", "fairway"}


@pytest.mark.parametrize(("row", "expected"), CONVERSIONS.items(), ids=CONVERSIONS)
def test_conversions_that_runtimes_need(row, expected):
    engine, hops = expected
    assert len(way(CATALOGUE, "safetensors", engines()[engine].format)) == hops
    if hops == 0 and "trtllm" in row:
        assert CATALOGUE.recommendations[row].holds == "differs"


@pytest.mark.parametrize("row", [row.when for row in ROWS if row.table == CHECKLIST])
def test_every_box_of_the_checklist_is_printed(row):
    assert row in [box.name.lower() for box in checklist(lambda _: None, "http://127.0.0.1:1")]


def test_quantisation_costs_a_half_to_a_quarter():
    """Article 4: 2-4x cheaper."""
    row = CATALOGUE.recommendations["cost-quantisation"]
    exact, coarse = (
        answer("latency", weights=weights, price=0.1).best.speed.decode_tokens_per_s
        for weights in ("bf16", "int4")
    )
    assert row.low <= coarse / exact <= row.high


def test_batching_brings_what_the_article_says_or_the_reason_is_there():
    """Article 4: 5-10x the throughput."""
    one, crowd = (
        answer("throughput", "h100", LLAMA_8B, users=users).best.speed.decode_tokens_per_s
        for users in (1, 32)
    )
    assert crowd / one > CATALOGUE.recommendations["cost-batching"].low


def test_lora_is_cheaper_than_all_weights():
    ways = plan_tuning(finder("train"), devices("this"))
    full = next(each for each in ways.others if each.method == "full")
    assert full.need_bytes > 2 * ways.best.need_bytes or CATALOGUE.recommendations["cost-lora"].because


@pytest.mark.parametrize("row", [row.id for row in ROWS if row.table == "4/quant-levels"])
def test_sizes_of_an_8b_model_are_those_of_the_article_or_corrected(row):
    """8 B in the article's gigabytes, rounded; where the estimate is further away, the row says why."""
    recommendation = CATALOGUE.recommendations[row]
    level = next(
        each
        for each in CATALOGUE.quantisations.values()
        if each.name == recommendation.when and each.article_gb is not None
    )
    gigabytes = 8.03e9 * level.bits_per_weight / 8 / 1e9
    assert abs(gigabytes - level.article_gb) <= 1.0
    assert abs(gigabytes - level.article_gb) <= 0.5 or recommendation.holds != "yes"
