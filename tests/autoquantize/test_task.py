"""Groups, their types and their sizes: to the byte what the hop writes."""

import numpy as np
import pytest
from model_folders import LLAMA, make_folder

from fairway.autoquantize import groups as module
from fairway.autoquantize.groups import groups_of, matrices
from fairway.autoquantize.settings import Goal
from fairway.autoquantize.task import task_of, typed
from fairway.convert.hops import convert
from fairway.convert.settings import parse_size
from fairway.errors import DoesNotFit, UnsupportedError, UsageError


@pytest.mark.parametrize("mix", ["Q8_0", "Q5_K_M", "Q4_K_M", "Q2_K"])
def test_sizes_are_those_of_the_file(conversion_of, mix):
    task, conversion = task_of(conversion_of()), conversion_of(mix=mix)
    assert task.size(task.usual[mix]) == conversion.num_bytes
    assert task.usual[mix] == {job.name: job.type for job in matrices(conversion)}


def test_chosen_types_are_what_is_written(conversion_of):
    task = task_of(conversion_of())
    random = np.random.default_rng(0)
    types = task.types([str(random.choice(list(group.errors))) for group in task.groups])
    conversion = conversion_of(mix="Q4_K_M", types=types)
    assert {job.name: job.type for job in matrices(conversion)} == types
    published = convert(conversion)
    assert published.num_bytes == task.size(types)


def test_rounding_errors_fall_with_the_bits(conversion_of):
    for group in task_of(conversion_of()).groups:
        assert list(group.errors) == ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"]
        errors = list(group.errors.values())
        assert errors == sorted(errors, reverse=True)
        assert 2e-5 < group.errors["Q8_0"] < 4e-5
        assert group.probed == "Q3_K"


def test_short_rows_get_blocks_of_32(model, conversion_of):
    group = task_of(conversion_of(model)).groups[0]
    assert list(group.errors) == ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
    assert group.probed == "Q4_0"


def test_rows_that_are_no_blocks_stay_floats(tmp_path, conversion_of):
    path = make_folder(tmp_path / "odd", {**LLAMA, "intermediate_size": 100})
    task = task_of(conversion_of(path))
    down = [group for group in task.groups if group.name.startswith("ffn_down")]
    assert all(list(group.errors) == ["BF16", "F32"] for group in down)


def test_many_layers_share_types(conversion_of, monkeypatch):
    monkeypatch.setattr(module, "MOST_GROUPS", 16)
    jobs = matrices(conversion_of())
    groups = groups_of(jobs)
    assert [group.name for group in groups[:4]] == ["token_embd", "attn_q 0-2", "attn_k 0-2", "attn_v 0-2"]
    assert len(groups) == 15
    assert sorted(job.name for group in groups for job in group.jobs) == sorted(job.name for job in jobs)


def test_a_quantised_file_is_refused(conversion_of, tmp_path):
    convert(conversion_of(mix="Q8_0"))
    with pytest.raises(UnsupportedError, match="quantised already"):
        task_of(conversion_of(tmp_path / "Q8_0.gguf", mix="stored"))


def test_a_file_of_floats_is_as_good_as_the_folder(conversion_of, tmp_path):
    convert(conversion_of(mix="BF16"))
    ours, theirs = task_of(conversion_of()), task_of(conversion_of(tmp_path / "BF16.gguf"))
    assert theirs.usual == ours.usual
    for one, other in zip(ours.groups, theirs.groups, strict=True):
        assert one.errors == pytest.approx(other.errors, rel=1e-4)


def test_budgets_that_cannot_be_met_or_need_nothing(conversion_of):
    task = task_of(conversion_of())
    with pytest.raises(DoesNotFit, match=r"smallest file that builtin can become has 2\.02 MB") as error:
        task.check(Goal(1_000_000))
    asked = parse_size(error.value.hint.split("--budget ")[1].split(",")[0])
    task.check(Goal(asked))
    with pytest.raises(UsageError, match="nothing need be rounded"):
        task.check(Goal(task.largest))
    task.check(Goal(task.largest - 1))
    task.check(Goal(quality=0.01))


@pytest.mark.parametrize("num", [1, 999, 1000, 2_713_408, 999_999_999, 4_567_890_123])
def test_a_size_to_type_is_enough_and_hardly_more(num):
    assert num <= parse_size(typed(num)) <= num * 1.011


@pytest.mark.parametrize("goal", [{}, {"budget_bytes": 5, "quality": 0.1}])
def test_one_goal_is_needed(goal):
    with pytest.raises(UsageError, match="one goal"):
        Goal(**goal)


@pytest.mark.parametrize("quality", [0.0, -1.0, float("nan"), float("inf")])
def test_a_quality_is_a_divergence(quality):
    with pytest.raises(UsageError, match="KL divergence") as error:
        Goal(quality=quality)
    assert "nats" in error.value.hint
