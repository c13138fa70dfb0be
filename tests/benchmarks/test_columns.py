import pytest
from benchmarks.comparison.columns import (
    LOAD,
    MEMORY,
    Column,
    Prompts,
    columns_for,
    lower_is_better,
    titles_of,
)


@pytest.mark.parametrize("context", [256, 1024, 32_768])
def test_every_column_fits_the_model(context):
    columns = columns_for(context, 128)
    assert max(column.length for column in columns) <= context
    assert [column.batch for column in columns] == [1, 1, 8, 32]


def test_a_short_context_shows_in_the_title():
    assert columns_for(256, 128)[0].title == "prefill 240"


def test_rates():
    times = {"first_s": 0.5, "after_first_s": 2.0, "num_after_first": 64}
    assert Column("prefill", "", 1, 512, 0).rate(times) == 1024
    assert Column("batch8", "", 8, 128, 8).rate(times) == 32


def test_prompts_are_the_same_in_every_run_and_never_repeat():
    column = Column("batch8", "", 8, 32, 8)
    prompts, again = Prompts(1000), Prompts(1000)
    first, second = prompts.take(column.batch, column.prompt), prompts.take(column.batch, column.prompt)
    assert again.take(column.batch, column.prompt) == first
    assert len({tuple(prompt) for prompt in first + second}) == 16
    assert all(3 <= token < 1000 for prompt in first for token in prompt)


def test_titles_are_of_what_was_chosen_in_the_order_of_the_table():
    columns = [column for column in columns_for(1024, 128) if column.key == "stream"]
    titles = titles_of(("memory", "stream"), columns)
    assert list(titles.values()) == ["1 stream", "memory, GB"]


@pytest.mark.parametrize(
    ("key", "lower"), [(LOAD, True), (MEMORY, True), ("stream", False), ("http32", False)]
)
def test_times_and_sizes_are_better_when_low(key, lower):
    assert lower_is_better(key) is lower
