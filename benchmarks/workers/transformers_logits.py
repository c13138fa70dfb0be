"""Logits of windows of token ids from transformers in float32: a judge that is not ourselves.

    python transformers_logits.py MODEL_FOLDER IDS.npy LOGITS.npy

IDS is int32 [windows, length]; LOGITS becomes float32 [windows, length, vocabulary].
"""

from __future__ import annotations

import sys

import numpy as np
import torch
import transformers


def main() -> None:
    folder, ids, out = sys.argv[1:]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found = [model(torch.from_numpy(row[None]).long()).logits[0].numpy() for row in np.load(ids)]
    np.save(out, np.stack(found))
    print(transformers.__version__)


if __name__ == "__main__":
    main()
