"""Whatever a config.json holds, reading it ends in a config or in one clear error, quickly."""

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_cases import CASES, LLAMA

from fairway.errors import FairwayError, FormatError
from fairway.models.decoder import Recording
from fairway.models.families import family, read_config
from fairway.models.sizes import Shapes, expected_tensors

KEYS = sorted({key for case in CASES.values() for key in case} | {"num_experts", "architectures"})
ROPES = ["default", "llama3", "yarn", "linear", "dynamic", "longrope", "su", "full_attention"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, 2**31 - 1, 2**31, 10**400, -1, 1e-320, 1e308, 1e-30])
    | st.floats()
    | st.sampled_from(ROPES)
    | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["rope_type", "type", "factor", "rope_theta", "original_max_position_embeddings"])
            | st.sampled_from(["low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale"])
            | st.sampled_from(["short_factor", "long_factor", "full_attention", "sliding_attention"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(CASES)), changes=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_value_under_any_key(name: str, changes: dict) -> None:
    try:
        config = read_config({**CASES[name], **changes})
        expected_tensors(config)
    except FairwayError as error:
        assert len(str(error)) < 400


def test_the_largest_sizes_cost_no_memory() -> None:
    largest = 2**31 - 1
    for model_type in ("llama", "gemma3_text", "gpt2"):
        config = read_config(
            {
                **LLAMA,
                "model_type": model_type,
                "vocab_size": largest,
                "hidden_size": 2**30,
                "head_dim": 4096,
                "intermediate_size": largest,
                "num_hidden_layers": 1024,
                "n_layer": 1024,
                "n_head": 16,
                "n_embd": 2**28,
                "n_positions": largest,
            }
        )
        tracemalloc.start()
        start = time.perf_counter()
        family(config.model_type).record(Recording(config, Shapes(), config.max_context))
        assert time.perf_counter() - start < 60
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
        tracemalloc.stop()


@pytest.mark.parametrize("theta", [1e308, 1.0000000001])
def test_frequencies_that_are_not_finite(theta: float) -> None:
    scaling = {"type": "linear", "factor": 1e-45}
    with pytest.raises(FormatError, match="no finite frequencies"):
        expected_tensors(read_config({**LLAMA, "rope_theta": theta, "rope_scaling": scaling}))
