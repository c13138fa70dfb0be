import pytest
from benchmarks.comparison.neighbours import share_between


def stat(user, idle, waiting=0):
    return f"cpu  {user} 0 0 {idle} {waiting} 0 0 0 7 7\ncpu0 1 2 3\n"


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (stat(0, 0), stat(0, 100), 0.0),
        (stat(50, 50), stat(75, 125), 0.25),
        (stat(0, 0), stat(50, 25, 25), 0.5),
        (stat(1, 1), stat(1, 1), 0.0),
    ],
)
def test_share_of_time_that_was_not_idle(before, after, share):
    assert share_between(before, after) == share
