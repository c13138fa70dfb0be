"""Words of the field: found however they are written, or the nearest named."""

import pytest

from fairway.errors import UsageError
from fairway.map.catalogue import load_catalogue
from fairway.map.explain import explain

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})


@pytest.mark.parametrize(
    ("written", "term"),
    [
        ("PagedAttention", "paged-attention"),
        ("paged attention", "paged-attention"),
        ("PAGED_ATTENTION", "paged-attention"),
        ("gguf", "gguf"),
        ("LoRA", "lora"),
        ("lora", "lora"),
        ("Low-Rank Adaptation", "lora"),
        ("KV cache", "kv-cache"),
        ("kvcache", "kv-cache"),
        ("quantization", "quantisation"),
        ("embeddings", "embedding"),
        ("tokens", "token"),
        ("TTFT", "ttft"),
        ("in-flight batching", "continuous-batching"),
        ("q4_k_m", "q4-k-m"),
        ("top p", "top-p"),
        ("Structured Finetuning", "sft"),
        ("Cosmopolitan Libc", "actually-portable-executable"),
        ("MLX", "mlx"),
    ],
)
def test_a_term_is_found_by_any_of_its_names(written, term):
    assert explain(CATALOGUE, written).term.id == term


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("pagedatention", "PagedAttention"),
        ("guff", "GGUF"),
        ("quantsation", "Quantisation"),
        ("lorra", "LoRA"),
        ("radix", "RadixAttention"),
        ("checkpointing", "Gradient checkpointing"),
    ],
)
def test_a_near_miss_names_the_nearest(written, nearest):
    with pytest.raises(UsageError) as caught:
        explain(CATALOGUE, written)
    assert f"There is no term {written}" in caught.value.message
    assert "Did you mean" in caught.value.hint and nearest in caught.value.hint


def test_nothing_near_leads_to_the_list():
    with pytest.raises(UsageError, match="fairway explain lists all terms"):
        explain(CATALOGUE, "zzzzqqqq")


def test_the_articles_own_glossary_is_all_there():
    words = (
        "LoRA,Safetensors,GGUF,ONNX,PagedAttention,Continuous Batching,RadixAttention,MLX,Cosmopolitan Libc"
    )
    for word in (*words.split(","), "OpenVINO IR"):
        found = explain(CATALOGUE, word)
        assert found.term.text and found.sources


def test_an_explanation_tells_where_it_lives_what_is_near_and_who_disagrees():
    found = explain(CATALOGUE, "PagedAttention").to_dict()
    assert found["paths"] == ["src/fairway/engine/block_pool.py", "src/fairway/engine/kv_cache.py"]
    assert "RadixAttention" in found["see"]
    assert any("Kwon" in source and "2023" in source for source in found["sources"])
    assert any(source == "article 1" for source in found["sources"])
    assert [each["question"] for each in found["disagreements"]] == [
        "How much faster is vLLM?", "What does PagedAttention do?",
    ]  # fmt: skip
