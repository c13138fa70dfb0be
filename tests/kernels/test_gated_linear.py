"""Gate and up joined inside the product: the same bits as one operation after the other."""

import numpy as np
import pytest
from kernel_programs import WEIGHTS, Sequence, Shape, decoder, limits, run_steps, weight_tensor

from fairway.kernels import native_backend
from fairway.kernels import program as p
from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import GatedLinear, NativeBackend, joined
from fairway.kernels.program import CacheShape, Program, Step
from fairway.kernels.reference import ReferenceBackend

ISAS = native_isas()
pytestmark = pytest.mark.skipif(not ISAS, reason="no native variant on this machine")
isas = pytest.mark.parametrize("isa", ISAS)


def gated_program(backend, weights, columns, half, tokens, bias=True, activation="silu", bad_row=None):
    """An embedded row, a product of two halves, their gate, and one more product.

    `bad_row` is a token and what the last value of its embedding is.
    """
    random = np.random.default_rng(columns + half)

    def matrix(rows, width, kind=weights):
        values = random.standard_normal((rows, width), np.float32) / np.float32(width**0.5)
        return backend.matrix(weight_tensor(values, kind))

    program = Program()
    x, both, hidden = program.buffer(columns), program.buffer(2 * half), program.buffer(half)
    y, logits = program.buffer(40), program.buffer(40, "outputs")
    added = random.standard_normal(2 * half, np.float32) if bias else None
    table = random.standard_normal((tokens, columns), np.float32) / np.float32(columns**0.5)
    if bad_row is not None:
        table[bad_row[0], -1] = bad_row[1]
    program.record(p.Embed(backend.matrix(weight_tensor(table, "f32")), x))
    program.record(p.Linear(x, matrix(2 * half, columns), both, bias=added))
    program.record(p.Gate(both, hidden, activation))
    program.record(p.Linear(hidden, matrix(40, half), y))
    program.record(p.SelectOutputs(y, logits))
    program.logits = logits
    return program


def logits_of(backend, program, tokens):
    executable = backend.compile(program, CacheShape(1, 1, tokens, 1, 1), limits(tokens, 1, tokens))
    ids = np.arange(tokens, dtype=np.int32)
    step = Step(ids, ids, np.array([0, tokens], np.int32), np.zeros((1, 1), np.int32), ids)
    return executable.run(step).copy()


@isas
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_codes_cannot_hold_is_not_a_number_in_its_own_row_only(isa, weights, threads) -> None:
    """Before the product (a table entry is not finite) and after it (the activation is too large)."""
    columns, half, tokens = 64, 1056, 50
    backend = NativeBackend(isa, threads)
    fine = logits_of(backend, gated_program(backend, weights, columns, half, tokens), tokens)
    for bad in (np.inf, np.nan, 3e18):
        program = gated_program(backend, weights, columns, half, tokens, bad_row=(7, bad))
        found = logits_of(backend, program, tokens)
        assert np.isnan(found[7]).all() if bad != 3e18 else not np.array_equal(found[7], fine[7])
        assert np.array_equal(np.delete(found, 7, 0), np.delete(fine, 7, 0))
    huge = logits_of(
        backend, gated_program(backend, weights, columns, half, tokens, bad_row=(7, 1e30)), tokens
    )
    assert np.isnan(huge[7]).all()
    again = logits_of(backend, gated_program(backend, weights, columns, half, tokens), tokens)
    assert np.array_equal(again, fine)


@isas
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("columns", "half"), [(48, 32), (100, 160), (64, 1056)])
@pytest.mark.parametrize("tokens", [1, 3, 50])
def test_the_same_bits_as_apart(isa, weights, columns, half, tokens, monkeypatch) -> None:
    found = []
    for threads in (1, 3):
        backend = NativeBackend(isa, threads)
        program = gated_program(backend, weights, columns, half, tokens)
        assert any(isinstance(o, GatedLinear) for o in joined(program.operations))
        found.append(logits_of(backend, program, tokens))
    monkeypatch.setattr(native_backend, "joined", list)
    apart = logits_of(backend, gated_program(backend, weights, columns, half, tokens), tokens)
    assert np.array_equal(found[0], apart)
    assert np.array_equal(found[1], apart)


@isas
@pytest.mark.parametrize("weights", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
def test_against_the_reference(isa, weights, activation) -> None:
    found, expected = (
        logits_of(backend, gated_program(backend, weights, 70, 96, 9, False, activation), 9)
        for backend in (NativeBackend(isa, 2), ReferenceBackend())
    )
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@isas
def test_a_whole_decoder(isa, monkeypatch) -> None:
    def run():
        backend = NativeBackend(isa, 2)
        made = decoder(backend, Shape(ffn=192))
        executable = backend.compile(made.program, made.cache(8, 16), limits())
        return run_steps(executable, Sequence(list(range(90)), list(range(6))), [61, 1, 28], 6)

    together = run()
    monkeypatch.setattr(native_backend, "joined", list)
    assert np.array_equal(together, run())


def test_what_somebody_else_reads_is_not_joined() -> None:
    backend = NativeBackend(ISAS[0], 1)
    for half, joins in ((32, True), (48, False)):
        program = gated_program(backend, "int4", 48, half, 3)
        assert any(isinstance(o, GatedLinear) for o in joined(program.operations)) == joins
    program = gated_program(backend, "int4", 48, 32, 3)
    both = program.operations[2].x
    program.record(p.Activate(both.columns(0, 8), program.buffer(8), "relu"))
    assert joined(program.operations) == program.operations
