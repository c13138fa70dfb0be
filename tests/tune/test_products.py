"""Products through oneDNN: PyTorch's own results and gradients."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from fairway.tune import products  # noqa: E402
from fairway.tune.chunked_loss import chunked_loss  # noqa: E402

KINDS = [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)]


def values(*shape: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(*shape) / 4).to(kind).requires_grad_(True)


def gradients(result: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 1, result.numel()).view(result.shape).to(result.dtype)
    return list(torch.autograd.grad((result * weights).float().sum(), leaves))


def assert_same(found: list[torch.Tensor], wanted: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize(("kind", "tolerance"), KINDS)
@pytest.mark.parametrize("rows", [(1,), (7,), (2, 33)])
def test_a_product_is_pytorchs(rows: tuple[int, ...], kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x, weight = values(*rows, 48, kind=kind), values(80, 48, kind=kind)
    ours, theirs = products.linear(x, weight), functional.linear(x, weight)
    assert_same([ours, *gradients(ours, [x, weight])], [theirs, *gradients(theirs, [x, weight])], tolerance)


@pytest.mark.parametrize(("kind", "tolerance"), KINDS)
@pytest.mark.parametrize("is_turned", [False, True], ids=["as stored", "stored the other way"])
def test_an_adapted_product_is_the_sum_of_three(is_turned: bool, kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x, a, b = values(37, 48, kind=kind), values(4, 48, kind=kind), values(80, 4, kind=kind)
    stored = values(48, 80, kind=kind) if is_turned else values(80, 48, kind=kind)
    weight = (stored.T if is_turned else stored).detach()
    ours = products.linear_lora(x, weight, a, b, 0.5)
    theirs = functional.linear(x, weight + 0.5 * b @ a)
    assert_same([ours, *gradients(ours, [x, a, b])], [theirs, *gradients(theirs, [x, a, b])], tolerance)


def test_no_rows_are_no_error() -> None:
    x, weight = values(0, 48), values(80, 48)
    found = products.linear(x, weight)
    assert found.shape == (0, 80)
    found.sum().backward()
    assert not weight.grad.any()


@pytest.mark.parametrize("scale", [1.0, 60.0], ids=["usual", "far apart"])
def test_the_loss_of_chunks_is_the_cross_entropy(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.tune.chunked_loss.CHUNK_BYTES", 4 * 301 * 5)
    torch.manual_seed(0)
    hidden, head = values(23, 16), values(301, 16)
    labels = torch.randint(0, 301, (23,))

    def logits(rows: torch.Tensor) -> torch.Tensor:
        return scale * functional.linear(rows, head)

    ours = chunked_loss(logits, hidden, labels, [head])
    theirs = functional.cross_entropy(logits(hidden), labels, reduction="sum")
    found = [ours, *torch.autograd.grad(ours * 3, [hidden, head])]
    assert_same(found, [theirs, *torch.autograd.grad(theirs * 3, [hidden, head])], 2e-5)
