"""What a run of `fairway tune` from scratch begins with and learns: WEIGHTS and WINDOWS for other programs.

    python recipe_windows.py MODEL DATA RECIPE WEIGHTS.npz WINDOWS.npz

Windows of update n are "n/b", [windows, tokens] of uint16, for each of its batches b; "shares" are those of
the step size.
"""

import sys
from pathlib import Path

import numpy as np

from fairway.formats.open import open_bundle
from fairway.tune.dataset import open_dataset
from fairway.tune.encode import encoder_for
from fairway.tune.prepare_job import load_examples, prepare_job
from fairway.tune.recipe import read_recipe
from fairway.tune.schedule import share_at


def main() -> None:
    model, data, recipe_file, weights, windows = map(Path, sys.argv[1:])
    bundle, recipe = open_bundle(model), read_recipe(recipe_file, {})
    examples = load_examples(open_dataset(data), encoder_for(bundle, recipe.data), lambda *_: None)
    job, stored = prepare_job(bundle, recipe, (examples, []), lambda *_: None)
    np.savez(weights, **{stored[name]: each.detach().numpy() for name, each in job.trained.items()})
    steps = range(job.batches.num_steps)
    found = {
        f"{step}/{at}": np.stack([job.items[number].ids for number in batch]).astype(np.uint16)
        for step in steps
        for at, batch in enumerate(job.batches.at(step))
    }
    found["shares"] = np.array([share_at(recipe, step, len(steps)) for step in steps])
    np.savez(windows, **found)


if __name__ == "__main__":
    main()
