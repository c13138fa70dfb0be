import pytest
from benchmarks.comparison.columns import Column, Prompts, columns_for, longest


@pytest.mark.parametrize("context", [256, 1024, 32_768])
def test_every_column_fits_the_model(context):
    columns = columns_for(context, 128)
    assert longest(columns) <= context
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
    first, second = prompts.take(column), prompts.take(column)
    assert again.take(column) == first
    assert len({tuple(prompt) for prompt in first + second}) == 16
    assert all(3 <= token < 1000 for prompt in first for token in prompt)
