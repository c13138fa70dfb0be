"""Give a pre-trained model the chat format, so that the instruction pass can teach it to answer.

python -m recipes.builtin_model.add_chat --model WORK_FOLDER/pretrain/model --out WORK_FOLDER/chat
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .model_folder import write_chat


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="the pre-trained folder")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write_chat(args.model, args.out)


if __name__ == "__main__":
    main()
