"""4-bit weights: bitsandbytes' codes, products and gradients of what the codes mean, kept file values."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from four_bit_cases import SHAPES, matrix  # noqa: E402
from peft_cases import LORA, ROWS, tiny  # noqa: E402

from fairway.formats.open import open_bundle  # noqa: E402
from fairway.tensors import GroupedTensor  # noqa: E402
from fairway.tune import frozen_base, frozen_matrix  # noqa: E402
from fairway.tune.encode import Example  # noqa: E402
from fairway.tune.forward_names import recorded  # noqa: E402
from fairway.tune.four_bit import CODES, NF4, FourBitMatrix, dynamic_map, grouped, rounded  # noqa: E402
from fairway.tune.frozen_base import FourBits, turned_in  # noqa: E402
from fairway.tune.frozen_matrix import HalfMatrix  # noqa: E402
from fairway.tune.lora_layers import lora_for, row_lengths  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.torch_decoder import TorchDecoder, tokens_of  # noqa: E402
from fairway.tune.torch_weights import load_weights  # noqa: E402

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parent / "goldens" / "bitsandbytes-nf4.npz"


def four_bits(
    values: np.ndarray, kind: str = "nf4", *, double: bool = False, step: int = 50
) -> FourBitMatrix:
    pieces = torch.from_numpy(values).split(step)
    return rounded(pieces, values.shape, kind, double=double, device=CPU)


def whole(matrix: FourBitMatrix) -> torch.Tensor:
    return matrix.unpacked(0, matrix.shape[0], torch.float32)


def test_the_tables_are_those_of_bitsandbytes() -> None:
    with np.load(GOLDEN) as wanted:
        assert np.array_equal(wanted["nf4"], np.float32(NF4))
        assert np.array_equal(wanted["dynamic map"], dynamic_map().numpy())


@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
@pytest.mark.parametrize("name", SHAPES)
def test_codes_and_values_are_those_of_bitsandbytes(name: str, double: bool) -> None:
    found = four_bits(matrix(name), double=double)
    with np.load(GOLDEN) as wanted:
        stem = f"{name}/{'double' if double else 'single'}"
        assert np.array_equal(wanted[f"{stem}/codes"], found.packed.numpy())
        wrong = np.abs(wanted[f"{stem}/values"] - whole(found).numpy())
    # Of two scales' codes that are equally near, either may be taken.
    assert (wrong > 1e-7).mean() < (0.02 if double else 1e-9)
    assert wrong.max() < 2e-3


def test_int4_rounds_to_the_nearest_of_equal_steps() -> None:
    values = matrix("many blocks")
    found = whole(four_bits(values, "int4")).numpy().reshape(-1, 64)
    steps = np.abs(values.reshape(-1, 64)).max(axis=1, keepdims=True) / 7
    assert (np.abs(found - values.reshape(-1, 64)) <= steps * 0.50001).all()
    assert len(set(CODES["int4"])) == 15 and CODES["int4"][8] == 0


def test_pieces_give_the_product_and_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_matrix, "PIECE_BYTES", 1)
    held = four_bits(matrix("odd columns"), double=True)
    half = HalfMatrix(torch.from_numpy(matrix("odd columns")).bfloat16())
    for frozen, dense in ((held, whole(held)), (half, half.unpacked(0, 130, torch.float32))):
        x = torch.randn(5, 21, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        weights = torch.linspace(-1, 1, 130)
        (frozen.product(x) * weights).sum().backward()
        found, x.grad = x.grad, None
        ((x @ dense.T) * weights).sum().backward()
        assert (found - x.grad).abs().max() < 1e-5
        assert (frozen.product(x) - x @ dense.T).abs().max() < 1e-5
        assert (frozen.row_lengths() - dense.norm(dim=1)).abs().max() < 1e-5


def test_groups_of_a_file_keep_their_numbers() -> None:
    random = np.random.RandomState(0)
    codes = random.randint(0, 16, (3, 64)).astype(np.uint8)
    scales, offsets = (random.randn(3, 2).astype(np.float32) for _ in range(2))
    found = grouped(GroupedTensor(4, 32, codes, scales, 8, offsets), CPU)
    assert found is not None
    wanted = np.repeat(scales, 32, 1) * (codes.astype(np.float32) - 8) + np.repeat(offsets, 32, 1)
    assert np.array_equal(whole(found).numpy(), wanted)
    assert grouped(GroupedTensor(5, 32, codes, scales), CPU) is None
    assert grouped(GroupedTensor(4, 32, codes[:, :50], scales), CPU) is None


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("name", ["llama-grouped-heads", "gpt2-tied", "gemma2-soft-caps"])
def test_loss_and_gradients_are_those_of_a_model_with_the_rounded_weights(name: str, dora: bool) -> None:
    bundle = tiny(name).bundle
    loaded = load_weights(bundle, FourBits("nf4", True, CPU, turned_in(bundle)), CPU)
    dense = dict(load_weights(bundle, torch.float32, CPU).weights)
    program, turned = recorded(loaded.config), turned_in(bundle)
    for key, each in loaded.weights.items():
        if not isinstance(each, torch.Tensor):
            values = each.unpacked(0, each.shape[0], torch.float32)
            dense[key] = values.T.contiguous() if loaded.stored[key] in turned else values
    rows = [Example("", np.array(ids, np.int32), np.array(labels) >= 0) for ids, labels in ROWS]
    tokens, found = tokens_of(join(rows), CPU), []
    for weights in (loaded.weights, dense):
        torch.manual_seed(3)
        lora = lora_for(program, LORA, row_lengths(program, weights) if dora else None)
        for each in lora.tensors.values():
            each.add_(torch.rand_like(each) * 0.1).requires_grad_(True)
        loss = TorchDecoder(loaded.config, weights, lora, recompute_layers=True).loss(tokens)
        loss.backward()
        found.append((loss.item(), {key: each.grad for key, each in lora.tensors.items()}))
    (one, ours), (two, theirs) = found
    assert abs(one - two) < 1e-4
    for key, grad in ours.items():
        assert (grad - theirs[key]).abs().max() < 1e-4 * max(1, theirs[key].abs().max())


def test_a_4_bit_gguf_file_is_not_rounded_again(tmp_path: Path) -> None:
    from fairway.cli.main import run

    assert run(["quantize", "builtin", "--to", "Q4_0", "--out", str(tmp_path / "m.gguf")]) == 0
    bundle = open_bundle(tmp_path / "m.gguf")
    held = load_weights(bundle, FourBits("nf4", False, CPU, turned_in(bundle)), CPU).weights
    exact = load_weights(bundle, torch.float32, CPU).weights
    kept = {key: each for key, each in held.items() if isinstance(each, FourBitMatrix) and each.block == 32}
    assert len(kept) > 20
    assert all(torch.equal(whole(each), exact[key]) for key, each in kept.items())


def test_a_gpu_with_bitsandbytes_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice alone; what it computes is the next test's."""
    made = []
    monkeypatch.setattr(frozen_base, "has_bitsandbytes", lambda: True)
    monkeypatch.setattr(frozen_base, "BitsAndBytesMatrix", lambda values, double: made.append(double))
    monkeypatch.setattr(frozen_base, "floats_of", lambda tensor: np.zeros(tensor.shape, np.float32))
    bundle = tiny("llama-grouped-heads").bundle
    held = FourBits("nf4", True, torch.device("cuda"), frozenset())
    name = "model.layers.0.self_attn.q_proj.weight"
    expected = frozen_base.Expected(bundle.tensors.infos[name].shape, "linear")
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_: self)
    held(bundle.tensors, name, expected)
    assert made == [True]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
def test_bitsandbytes_computes_what_ours_does(double: bool) -> None:
    pytest.importorskip("bitsandbytes")
    from fairway.tune.bitsandbytes_matrix import BitsAndBytesMatrix

    values = matrix("many blocks")
    ours, theirs = (
        four_bits(values, double=double),
        BitsAndBytesMatrix(torch.from_numpy(values), double=double),
    )
    found = []
    for each in (ours, theirs):
        x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        product = each.product(x)
        product.square().sum().backward()
        found.append((product.detach(), x.grad, each.row_lengths()))
    for one, two in zip(*found, strict=True):
        assert (one - two).abs().max() < (5e-3 if double else 1e-4) * one.abs().max()
    assert ours.shape == theirs.shape
