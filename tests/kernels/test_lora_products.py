"""Adapters beside products: the reference's numbers, the same bits in any company, none for the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_programs import weight_tensor

from fairway.kernels import program as p
from fairway.kernels.extension import native_isas
from fairway.kernels.lora import adaptable, check_deltas
from fairway.kernels.native_backend import GatedLinear, NativeBackend, joined
from fairway.kernels.program import CacheShape, Delta, Limits, LoraPart, Program, Step
from fairway.kernels.reference import ReferenceBackend
from fairway.tensors import DenseTensor

ISAS = native_isas()
isas = pytest.mark.parametrize("isa", ISAS)
WIDTH, PARTS, HALF, TOKENS = 70, {"q": (0, 40), "k": (40, 9), "v": (49, 24)}, 96, 61
NAMES = [*PARTS, "gate", "up", "down"]


def matrix(backend, rows, columns, kind):
    values = np.random.default_rng(rows).standard_normal((rows, columns), np.float32) / np.float32(
        columns**0.5
    )
    return backend.matrix(weight_tensor(values, kind))


def program_of(backend, kind="f32", adapts=True):
    """A fused product of three parts of odd sizes, scaled onto a residual; a gated product; a plain one."""
    program = Program()
    x, qkv, both = program.buffer(WIDTH), program.buffer(73), program.buffer(2 * HALF)
    hidden, y = program.buffer(HALF), program.buffer(WIDTH)
    logits = program.buffer(73 + WIDTH, "outputs")
    joint = program.buffer(73 + WIDTH)
    table = np.random.default_rng(1).standard_normal((TOKENS, WIDTH), np.float32)
    parts = tuple(LoraPart(name, *place) for name, place in PARTS.items()) if adapts else ()
    halves = (LoraPart("gate", 0, HALF), LoraPart("up", HALF, HALF)) if adapts else ()
    whole = (LoraPart("down", 0, WIDTH),) if adapts else ()
    ones = [np.ones(width, np.float32) for width in (73, WIDTH)]
    program.record(p.Embed(backend.matrix(DenseTensor("f32", table)), x))
    program.record(p.Linear(x, matrix(backend, 73, WIDTH, kind), qkv, bias=ones[0], scale=0.5, lora=parts))
    program.record(p.Linear(x, matrix(backend, 2 * HALF, WIDTH, kind), both, lora=halves))
    program.record(p.Gate(both, hidden, "silu"))
    program.record(
        p.Linear(hidden, matrix(backend, WIDTH, HALF, kind), y, residual=x, scale=0.25, lora=whole)
    )
    program.record(p.RMSNorm(qkv, ones[0], joint.columns(0, 73), 1e-3))
    program.record(p.RMSNorm(y, ones[1], joint.columns(73, WIDTH), 1e-3))
    program.record(p.SelectOutputs(joint, logits))
    program.logits = logits
    return program


def deltas(program, seed, ranks=(3, 16, 20), names=NAMES, type="f32"):
    random, found = np.random.default_rng(seed), {}
    for linear in adaptable(program.operations):
        for part in linear.lora:
            if part.name in names:
                rank = ranks[len(found) % len(ranks)]
                a = random.standard_normal((rank, linear.x.width), np.float32) / 8
                b = random.standard_normal((part.width, rank), np.float32) / 8
                found[part.name] = Delta(weight_tensor(a, type), weight_tensor(b, type), 1.5 + seed)
    return found


def compiled(backend, kind="f32", adapters=(), adapts=True):
    program = program_of(backend, kind, adapts)
    executable = backend.compile(program, CacheShape(1, 1, TOKENS, 1, 1), Limits(TOKENS, TOKENS, TOKENS))
    for slot, seed in enumerate(adapters):
        executable.put_adapter(slot, executable.pack_adapter(deltas(program, seed)))
    return executable


def run(executable, slots, counts=None):
    """Tokens 0 .. of sequences with these adapters; every token is an output."""
    counts = counts or [1] * len(slots)
    starts = np.cumsum([0, *counts]).astype(np.int32)
    ids = np.arange(starts[-1], dtype=np.int32)
    positions = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    tables = np.zeros((len(counts), 1), np.int32)
    return executable.run(Step(ids, positions, starts, tables, ids, np.array(slots, np.int32))).copy()


@isas
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "int8", "int4"])
def test_against_the_reference(isa, kind) -> None:
    slots = [0, 1, -1, 1, 0, 0, 2, -1]
    found, expected = (
        run(compiled(backend, kind, [0, 1, 2]), slots, [1, 7, 2, 3, 1, 1, 30, 2])
        for backend in (NativeBackend(isa, 2), ReferenceBackend())
    )
    np.testing.assert_allclose(
        found, expected, rtol=1e-3, atol=2e-4 if kind in ("f32", "f16", "bf16") else 2e-2
    )


@pytest.mark.parametrize("make", [ReferenceBackend, *(lambda isa=isa: NativeBackend(isa, 2) for isa in ISAS)])
def test_the_sum_is_what_is_written(make) -> None:
    """One product, f32: the delta beside the matrix is the delta inside it."""
    rows, found = 24, []
    random = np.random.default_rng(3)
    weight, table = (random.standard_normal((n, WIDTH), np.float32) / 8 for n in (rows, TOKENS))
    a, b = random.standard_normal((5, WIDTH), np.float32), random.standard_normal((rows, 5), np.float32)
    for merged in (weight + np.float32(0.3) * (b @ a), weight):
        backend, program = make(), Program()
        x, y, logits = program.buffer(WIDTH), program.buffer(rows), program.buffer(rows, "outputs")
        program.record(p.Embed(backend.matrix(DenseTensor("f32", table)), x))
        product = backend.matrix(DenseTensor("f32", merged.astype(np.float32)))
        program.record(p.Linear(x, product, y, scale=2.0, lora=(LoraPart("layer", 0, rows),)))
        program.record(p.SelectOutputs(y, logits))
        program.logits = logits
        executable = backend.compile(program, CacheShape(1, 1, TOKENS, 1, 1), Limits(TOKENS, TOKENS, TOKENS))
        delta = Delta(DenseTensor("f32", a), DenseTensor("f32", b), 0.3)
        executable.put_adapter(7, executable.pack_adapter({"layer": delta}))
        found.append(run(executable, [-1 if merged is not weight else 7] * 9))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


@isas
@pytest.mark.parametrize("kind", ["f32", "int4"])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 9)), min_size=1, max_size=16), st.integers(1, 3))
def test_the_same_bits_in_any_company(isa, kind, sequences, threads) -> None:
    """Rows 0 .. of the table with their adapters, in one step or one row at a time."""
    while sum(count for _, count in sequences) > TOKENS:
        sequences = sequences[:-1]
    slots, counts = [slot for slot, _ in sequences], [count for _, count in sequences]
    together = run(compiled(NativeBackend(isa, threads), kind, range(4)), slots, counts)
    each_token = [slot for slot, count in sequences for _ in range(count)]
    alone = compiled(NativeBackend(isa, 1), kind, range(4))
    for row, slot in enumerate(each_token):
        ids = np.array([row], np.int32)
        zero, starts = np.zeros(1, np.int32), np.array([0, 1], np.int32)
        step = Step(ids, zero, starts, np.zeros((1, 1), np.int32), zero, np.array([slot], np.int32))
        assert np.array_equal(alone.run(step)[0], together[row]), row


@isas
@pytest.mark.parametrize("kind", ["f32", "int4"])
def test_whoever_has_no_adapter_gets_the_bits_of_a_program_without_them(isa, kind) -> None:
    plain = compiled(NativeBackend(isa, 2), kind, adapts=False)
    adapting = compiled(NativeBackend(isa, 2), kind, [0, 1])
    slots = [-1, 0, -1, 1, -1]
    expected, found = run(plain, [-1] * 5, [3, 1, 9, 20, 1]), run(adapting, slots, [3, 1, 9, 20, 1])
    has_none = np.repeat([slot < 0 for slot in slots], [3, 1, 9, 20, 1])
    assert np.array_equal(found[has_none], expected[has_none])
    assert (found[~has_none] != expected[~has_none]).any(axis=1).all()
    assert np.array_equal(run(adapting, [-1] * 5), run(plain, [-1] * 5))


@isas
def test_some_layers_of_some_products(isa) -> None:
    for names in (["k"], ["q", "v"], ["up"], ["down"], []):
        backends = NativeBackend(isa, 2), ReferenceBackend()
        found = []
        for backend in backends:
            executable = compiled(backend)
            chosen = deltas(program_of(backend), 4, names=names)
            executable.put_adapter(2, executable.pack_adapter(chosen))
            found.append(run(executable, [2, -1, 2], [5, 1, 30]))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=2e-4)


@isas
def test_a_slot_can_be_filled_again_and_emptied(isa) -> None:
    executable = compiled(NativeBackend(isa, 2), "int4", [0, 1])
    first, second = run(executable, [0] * 4), run(executable, [1] * 4)
    again = executable.pack_adapter(deltas(program_of(NativeBackend(isa, 1), "int4"), 1))
    executable.put_adapter(0, again)
    assert np.array_equal(run(executable, [0] * 4), second)
    assert not np.array_equal(first, second)
    executable.put_adapter(0, None)
    executable.put_adapter(40, None)
    for slots in ([0], [-2], [2], [1, 1 << 20]):
        with pytest.raises(ValueError, match="adapter that is not loaded"):
            run(executable, slots)
    assert np.array_equal(run(executable, [1] * 4), second)


def test_what_fits_no_part_is_refused() -> None:
    program = program_of(ReferenceBackend())
    good = deltas(program, 0)
    f32 = lambda *shape: DenseTensor("f32", np.zeros(shape, np.float32))  # noqa: E731
    check_deltas(program.operations, good)
    for name, a, b in (
        ("z", f32(2, WIDTH), f32(40, 2)),
        ("q", f32(2, WIDTH), f32(41, 2)),
        ("q", f32(2, WIDTH + 1), f32(40, 2)),
        ("q", f32(2, WIDTH), f32(40, 3)),
        ("q", f32(0, WIDTH), f32(40, 0)),
    ):
        with pytest.raises(ValueError, match=name):
            check_deltas(program.operations, good | {name: Delta(a, b, 1.0)})
    wide = program_of(ReferenceBackend())
    linear = wide.operations[1]
    wide.operations[1] = p.Linear(linear.x, linear.matrix, linear.out, lora=(LoraPart("q", 60, 40),))
    with pytest.raises(ValueError, match="an adapter cannot change columns 60"):
        ReferenceBackend().compile(wide, CacheShape(1, 1, 1, 1, 1), Limits(1, 1, 1))


@isas
def test_gate_and_up_are_joined_with_adapters_too(isa) -> None:
    assert any(isinstance(o, GatedLinear) for o in joined(program_of(NativeBackend(isa, 1)).operations))


@isas
def test_layers_that_do_not_fit_change_nothing(isa) -> None:
    """The extension checks what Python packed once more, since kernels follow it blindly."""
    backend = NativeBackend(isa, 1)
    executable = compiled(backend, "f32", [0])
    before = run(executable, [0] * 5)
    (site, a, parts), *_ = executable.pack_adapter(deltas(program_of(backend), 1)).layers
    b, has_pairs, rank, column, first_tile, scale = parts[0]
    other = backend.matrix(weight_tensor(np.ones((3, 64), np.float32), "f32"))
    codes = backend.matrix(weight_tensor(np.ones((3, 64), np.float32), "int8"))
    for layer in (
        (99, a, parts),
        (site, other, parts),
        (site, codes, parts),
        (site, a, [(codes, has_pairs, rank, column, first_tile, scale)]),
        (site, a, [(b, has_pairs, rank + 1, column, first_tile, scale)]),
        (site, a, [(b, not has_pairs, rank, column, first_tile, scale)]),
        (site, a, [(b, has_pairs, rank, 1000, first_tile, scale)]),
        (site, a, [(b, has_pairs, rank, column, 1 << 40, scale)]),
    ):
        with pytest.raises(ValueError, match="adapter"):
            executable._native.put_adapter(0, [layer])
    with pytest.raises(ValueError, match="no such slot"):
        executable._native.put_adapter(1 << 40, [])
    assert np.array_equal(run(executable, [0] * 5), before)
