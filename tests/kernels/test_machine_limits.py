"""The machine's limits: that they are measured, and where they cannot be."""

import pytest

from fairway.errors import UnsupportedError
from fairway.kernels import machine_limits
from fairway.kernels.extension import native_isas
from fairway.kernels.machine_limits import MachineLimits, measure_limits


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(machine_limits, "READ_BYTES", 4 << 20)


@pytest.mark.parametrize("isa", native_isas())
def test_every_rate_is_measured_with_every_instruction_set(quick, isa):
    limits = measure_limits(isa, threads=2)
    assert limits.threads == 2
    assert min(limits.memory_bytes_per_s, limits.int8_ops_per_s, limits.f32_ops_per_s) > 0
    assert limits.bf16_ops_per_s is None or limits.bf16_ops_per_s > 0
    assert set(limits.to_dict()) >= {"memory_bytes_per_s", "int8_ops_per_s", "bf16_ops_per_s"}


def test_the_reference_has_no_limits_worth_measuring():
    with pytest.raises(UnsupportedError, match="measured with native kernels"):
        measure_limits("reference")


def test_between_two_measurements_lies_their_mean():
    before, after = MachineLimits(2, 10.0, 4.0, 2.0, 6.0), MachineLimits(2, 30.0, 8.0, 2.0, None)
    assert before.mean(before) == before
    assert before.mean(after) == MachineLimits(2, 20.0, 6.0, 2.0, None)
