"""Cross entropy without the logits: a chunk of tokens at a time, its gradient taken while its logits exist.

[labels, vocabulary] is the largest tensor of a training step by far; here [CHUNK, vocabulary] is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 128 << 20
"""float32 logits that exist at once; with a quarter of it a large vocabulary has 0.7 of the speed."""
Head = Callable[[Tensor], Tensor]
Look = Callable[[Tensor, Tensor], None]
"""Is shown every chunk's logits [rows, vocabulary] and labels [rows], without gradients; they do not stay."""


def chunked_loss(
    head: Head, hidden: Tensor, labels: Tensor, trained: Sequence[Tensor], look: Look | None = None
) -> Tensor:
    """The sum over labels of -log softmax(head(hidden))[label].

    hidden [labels, width]; `head` gives logits [rows, vocabulary]; `trained` are the tensors inside it that
    want gradients.
    """
    if not len(labels):
        return hidden.sum() * 0
    if not torch.is_grad_enabled():
        return torch.stack([_loss(head, look, *each) for each in _chunks(head, hidden, labels)]).sum()
    loss: Tensor = _ChunkedLoss.apply(head, look, hidden, labels, *trained)
    return loss


def per_row(head: Head, values: Callable[..., Tensor], hidden: Tensor, *targets: Tensor) -> Tensor:
    """`values(head(hidden), *targets)`, a number per row, where each row's gradient may have its own weight.

    hidden [rows, width] and targets [rows, ...]; the logits of a chunk are made again for its gradient.
    """

    def made(hidden: Tensor, *targets: Tensor) -> Tensor:
        return values(head(hidden), *targets)

    chunks = _chunks(head, hidden, *targets)
    if not torch.is_grad_enabled():
        return torch.cat([made(*each) for each in chunks])
    return torch.cat(
        [checkpoint(made, *each, use_reentrant=False, preserve_rng_state=False) for each in chunks]
    )


def _chunks(head: Head, hidden: Tensor, *targets: Tensor) -> list[tuple[Tensor, ...]]:
    with torch.no_grad():
        vocabulary = head(hidden[:1]).shape[-1]
    rows = max(1, CHUNK_BYTES // (4 * vocabulary))
    return list(zip(*(each.split(rows) for each in (hidden, *targets)), strict=True))


def _loss(head: Head, look: Look | None, hidden: Tensor, labels: Tensor) -> Tensor:
    logits = head(hidden)
    if look is not None:
        look(logits.detach(), labels)
    return functional.cross_entropy(logits, labels, reduction="sum")


def _loss_and_gradients(
    head: Head, look: Look | None, rows: Tensor, labels: Tensor, trained: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss of one chunk, and its gradients by `rows` and by each of `trained`."""
    with torch.enable_grad():
        logits = head(rows.requires_grad_(True))
    if look is not None:
        look(logits.detach(), labels)
    loss = _turn_into_gradient(logits.detach(), labels)
    return loss, torch.autograd.grad(logits, [rows, *trained], logits.detach())


def _turn_into_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the cross entropies, whose gradient, softmax - one hot, takes the place of the logits."""
    wanted = logits.gather(1, labels[:, None])
    highest, where = logits.max(dim=1, keepdim=True)
    torch.softmax(logits, dim=1, out=logits)
    log_sums = highest - logits.gather(1, where).log()
    logits.scatter_add_(1, labels[:, None], torch.full_like(wanted, -1))
    return (log_sums - wanted).sum()


class _ChunkedLoss(torch.autograd.Function):  # type: ignore[misc]
    """Gradients are made on the way forward and only scaled on the way back."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        head: Head,
        look: Look | None,
        hidden: Tensor,
        labels: Tensor,
        *trained: Tensor,
    ) -> Tensor:
        sums = [torch.zeros_like(each) for each in trained]
        grads, total = [], hidden.new_zeros(())
        for rows, wanted in _chunks(head, hidden.detach(), labels):
            loss, (first, *others) = _loss_and_gradients(head, look, rows, wanted, trained)
            total += loss
            grads.append(first)
            for held, grad in zip(sums, others, strict=True):
                held += grad
        ctx.save_for_backward(torch.cat(grads), *sums)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # noqa: ANN401
        first, *others = ctx.saved_tensors
        return None, None, first * scale, None, *(each * scale for each in others)
