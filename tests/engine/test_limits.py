import pytest

from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings, StepLimits
from fairway.errors import SettingsError


def test_the_runner_decides_unless_less_is_wished() -> None:
    runner = FakeRunner(max_tokens=64, max_sequences=8, max_outputs=32)
    assert StepLimits.of(runner, EngineSettings()) == StepLimits(64, 8, 32)
    assert StepLimits.of(runner, EngineSettings(max_step_tokens=16, max_sequences=4)) == StepLimits(16, 4, 32)
    assert StepLimits.of(runner, EngineSettings(max_step_tokens=999, max_sequences=99)) == StepLimits(
        64, 8, 32
    )


def test_everyone_who_runs_is_sure_of_a_token_and_an_output() -> None:
    assert StepLimits.of(FakeRunner(max_sequences=8, max_outputs=3), EngineSettings()).max_sequences == 3
    assert StepLimits.of(FakeRunner(max_sequences=8), EngineSettings(max_step_tokens=2)).max_sequences == 2


@pytest.mark.parametrize(
    "fields", [{"max_step_tokens": 0}, {"max_sequences": -1}, {"max_waiting": -1}], ids=str
)
def test_impossible_wishes_are_refused_by_name(fields) -> None:
    [(name, value)] = fields.items()
    with pytest.raises(SettingsError, match=f"{name} is {value}; .* for example"):
        EngineSettings(**fields)
