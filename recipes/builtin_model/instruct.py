"""The instruction pass: from the pre-trained checkpoint to a model that answers and stops.

    python -m recipes.builtin_model.instruct --data TEXT_FOLDER --work WORK_FOLDER

Only what the assistant says is learned; rows of plain text in between keep what was learned
before. What a step sees depends on (seed, step) alone, so the pass continues after a kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .chat import encode_chat
from .checkpoint import JsonLog, load_checkpoint, save_checkpoint
from .command import read_command
from .conversations import Material, draw_conversation, read_material
from .data import prepare
from .learner import IGNORED, Batch, Learner
from .model import LanguageModel
from .settings import InstructPlan, Recipe
from .team import Team, run_team
from .tokenizer import ASSISTANT, BEGIN, END, SYSTEM, TURN_END, USER

CHECKPOINT_EVERY = 20
Row = tuple[list[int], list[int]]


@dataclass(frozen=True)
class InstructData:
    """Makes the batches of any step."""

    plan: InstructPlan
    tokenizer: Tokenizer
    tokens: np.ndarray
    material: Material

    def batches(self, step: int) -> list[Batch]:
        random = np.random.default_rng([self.plan.seed, step])
        rows = [self._row(random) for _ in range(self.plan.tokens_per_step // self.plan.length)]
        size = self.plan.tokens_per_micro_batch // self.plan.length
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        return [tuple(torch.tensor(part) for part in zip(*g, strict=True)) for g in groups]

    def _row(self, random: np.random.Generator) -> Row:
        if random.random() < self.plan.plain_text_share:
            start = int(random.integers(len(self.tokens) - self.plan.length))
            window = self.tokens[start : start + self.plan.length + 1].tolist()
            return window[:-1], window[1:]
        return self._chat_row(random)

    def _chat_row(self, random: np.random.Generator) -> Row:
        """Whole conversations, one after another, until the next does not fit; then padding."""
        length = self.plan.length
        ids: list[int] = []
        targets: list[int] = []
        while True:
            chat, learned = encode_chat(self.tokenizer, draw_conversation(self.material, self.plan, random))
            if len(ids) + len(chat) > length + 1:
                if ids:
                    break
                continue
            ids += chat
            targets += [x if learn else IGNORED for x, learn in zip(chat, learned, strict=True)]
        ids += [0] * (length + 1 - len(ids))
        targets += [IGNORED] * (length + 1 - len(targets))
        return ids[:-1], targets[1:]


def instruct(team: Team, data: Path, work: Path, recipe: Recipe) -> None:
    """What each process of the team does."""
    plan = recipe.instruct
    tokenizer, tokens, texts = prepare(data, work, recipe)
    source = InstructData(plan, tokenizer, tokens, read_material(data, texts.stories))
    learner, step = _resume(work, recipe, team)
    if step == 0:
        start_markers(learner.model, tokenizer)
    learner.loss = torch.compile(learner.model.loss, dynamic=False)
    log = JsonLog(work / "instruct.jsonl", step) if team.is_first else None
    while step < plan.steps:
        share = 1.0 - step / plan.steps
        loss = learner.learn(source.batches(step), plan.muon_lr * share, plan.adam_lr * share)
        step += 1
        if log:
            log.write({"step": step, "loss": round(loss, 5), "lr": plan.muon_lr * share})
            if step % CHECKPOINT_EVERY == 0 or step == plan.steps:
                state = {**learner.state_dict(), "step_number": step}
                save_checkpoint(work / "instruct.pt", state)


@torch.no_grad()
def start_markers(model: LanguageModel, tokenizer: Tokenizer) -> None:
    """Pre-training never saw the chat markers: let each start as the token it resembles."""
    rows = model.model.embed_tokens.weight
    resembles = {SYSTEM: BEGIN, USER: BEGIN, ASSISTANT: BEGIN, TURN_END: END}
    for marker, known in resembles.items():
        rows[tokenizer.token_to_id(marker)] = rows[tokenizer.token_to_id(known)]


def _resume(work: Path, recipe: Recipe, team: Team) -> tuple[Learner, int]:
    """A learner at this pass's last checkpoint, or at the end of pre-training."""
    learner = Learner(recipe.model, recipe.train.weight_decay, team)
    if state := load_checkpoint(work / "instruct.pt"):
        learner.load_state_dict(state)
        return learner, state["step_number"]
    pretrained = load_checkpoint(work / "pretrain.pt")
    if pretrained is None:
        raise FileNotFoundError(f"{work / 'pretrain.pt'} is missing: pre-train first")
    learner.model.load_state_dict(pretrained["model"])
    return learner, 0


def main() -> None:
    command = read_command(__doc__)
    run_team(command.processes, instruct, command.data, command.work, command.recipe)


if __name__ == "__main__":
    main()
