"""The trained model as it is shipped: weights in bfloat16, and how it is sampled.

python -m recipes.builtin_model.export --model WORK_FOLDER/instruct/model --out src/fairway/builtin
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer

from fairway.convert.hops import convert, prepare
from fairway.convert.settings import ConvertSettings
from fairway.formats.open import open_bundle

from .model_folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, token_ids, write_json

SHIPPED = (TOKENIZER, TOKENIZER_CONFIG, WEIGHTS)


def export(model: Path, out: Path, temporary: Path) -> None:
    """Writes the five files; `temporary` is a folder that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    settings = ConvertSettings("safetensors", type="BF16", out=temporary)
    rounded = convert(prepare(open_bundle(model), settings), lambda *_: None).path
    for name in SHIPPED:
        shutil.copyfile(rounded / name, out / name)
    config = json.loads((model / CONFIG).read_text("utf-8"))
    write_json(out / CONFIG, config | {"torch_dtype": "bfloat16"})
    write_json(out / "generation_config.json", generation_config(Tokenizer.from_file(str(model / TOKENIZER))))
    shutil.rmtree(temporary)


def generation_config(tokenizer: Tokenizer) -> dict[str, object]:
    return {
        **token_ids(tokenizer),
        "do_sample": True,
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.95,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a model that fairway tune left")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(args.model, args.out, args.model.with_name("rounded"))


if __name__ == "__main__":
    main()
