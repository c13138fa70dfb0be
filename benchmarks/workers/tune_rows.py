"""The tokens and labels of a dataset in the order in which a recipe learns them: MODEL DATA RECIPE OUT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fairway.formats.open import open_bundle
from fairway.tune.batches import Batches
from fairway.tune.dataset import open_dataset
from fairway.tune.encode import encoder_for
from fairway.tune.prepare_job import load_examples
from fairway.tune.recipe import read_recipe


def main() -> None:
    model, data, settings, out = map(Path, sys.argv[1:5])
    recipe, bundle = read_recipe(settings, {}), open_bundle(model)
    examples = load_examples(open_dataset(data), encoder_for(bundle, recipe.data), lambda *_: None)
    batches = Batches([len(each) for each in examples], recipe, recipe.max_length or 1)
    order = [examples[each] for step in range(batches.num_steps) for one in batches.at(step) for each in one]
    rows = [{"input_ids": each.ids.tolist(), "labels": each.labels.tolist()} for each in order]
    out.write_text(json.dumps(rows), "utf-8")


if __name__ == "__main__":
    main()
