"""The line of text that shows a loss while it falls."""

import pytest

from fairway.report.text_curve import HEIGHTS, WIDTH, TextCurve


def drawn(values) -> str:
    curve = TextCurve()
    for value in values:
        curve.add(value)
    return str(curve)


def test_few_values_are_a_column_each() -> None:
    assert drawn([]) == ""
    assert drawn([2.0]) == "▁"
    assert drawn([3.0, 3.0]) == "▁▁"
    assert drawn([7, 6, 5, 4, 3, 2, 1, 0]) == HEIGHTS[::-1]


@pytest.mark.parametrize("count", [WIDTH, WIDTH + 1, 2 * WIDTH + 3, 1000, 12_345])
def test_many_values_share_columns_and_the_first_stays_first(count: int) -> None:
    found = drawn(1 / (1 + at) for at in range(count))
    assert WIDTH / 2 <= len(found) <= WIDTH
    assert (found[0], found[-1]) == ("█", "▁")
    assert list(found) == sorted(found, reverse=True)
