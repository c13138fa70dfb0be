"""The built-in model's pre-training with the trainer that made it, before `fairway tune` took its place.

    python recipe_before.py CHECKOUT WEIGHTS.npz WINDOWS.npz RECIPE.toml LOG.jsonl

CHECKOUT holds `recipes/builtin_model` of a commit that has `learner.py`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tomllib
import torch


def main() -> None:
    checkout, weights_file, windows_file, recipe_file, log_file = map(Path, sys.argv[1:])
    sys.path.insert(0, str(checkout))
    from recipes.builtin_model.learner import Learner
    from recipes.builtin_model.settings import load_recipe
    from recipes.builtin_model.team import Team

    recipe = tomllib.loads(recipe_file.read_text("utf-8"))
    learner = Learner(load_recipe().model, recipe["weight_decay"], Team())
    weights = {name: torch.from_numpy(each) for name, each in np.load(weights_file).items()}
    learner.model.load_state_dict(weights)
    windows = np.load(windows_file)
    with log_file.open("w", encoding="utf-8", buffering=1) as log:
        for step, share in enumerate(windows["shares"].tolist()):
            start = time.monotonic()
            batches = [windows[f"{step}/{at}"] for at in range(recipe["gradient_accumulation_steps"])]
            ids = [torch.from_numpy(each.astype(np.int64)) for each in batches]
            pairs = [(each[:, :-1], each[:, 1:]) for each in ids]
            loss = learner.learn(pairs, recipe["muon_learning_rate"] * share, recipe["learning_rate"] * share)
            log.write(json.dumps({"loss": loss, "seconds": time.monotonic() - start}) + "\n")


if __name__ == "__main__":
    main()
