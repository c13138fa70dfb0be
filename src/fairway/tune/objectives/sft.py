"""Cross entropy on the labels: answers to learn, or plain text (continued pretraining)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fairway.tune.objectives.logps import num_answer
from fairway.tune.objectives.objective import Batch, Measured, Objective
from fairway.tune.packing import join
from fairway.tune.torch_decoder import tokens_of

ACCURACY = "mean_token_accuracy"
"""How often the likeliest token is the right one; TRL's name."""


class Sft(Objective):
    """Items are `Example`s; the loss is a mean over labels."""

    def batch(self, numbers: Sequence[int], *, held_out: bool = False) -> Batch:
        items = self.job.held_out if held_out else self.job.items
        chosen = [items[each] for each in numbers]
        return Batch(chosen, sum(map(num_answer, chosen)), sum(map(len, chosen)))

    def measured(self, batch: Batch) -> Measured:
        tokens, decoder = tokens_of(join(batch.items), self.job.device), self.job.decoder
        if not self.job.recipe.token_accuracy:
            return Measured(decoder.loss(tokens))
        hits: list[Tensor] = []

        def count(logits: Tensor, labels: Tensor) -> None:
            hits.append((logits.argmax(dim=-1) == labels).sum())

        loss = decoder.loss(tokens, count)
        return Measured(loss, {ACCURACY: (float(sum(each.item() for each in hits)), batch.weight)})
