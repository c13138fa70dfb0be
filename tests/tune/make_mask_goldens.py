"""Records which tokens transformers says the assistant wrote, for every template and conversation.

    python tests/tune/make_mask_goldens.py        (needs transformers; the suite itself does not)

Besides the tokenizer of these tests, those of ../shared are recorded where it lies: as runs of true and a
digest of the ids, since nothing from there may lie in the repository.
"""

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer as Backend

sys.path.insert(0, str(Path(__file__).parent))
from transformers.utils import chat_template_utils
from tune_cases import BOS, CLOCK, CONTROL, CONVERSATIONS, EOS, MARKED, REAL, SHARED, backend, marked, runs

HERE = Path(__file__).parent
BUILTIN = HERE.parents[1] / "src" / "fairway" / "builtin" / "tokenizer.json"


def with_control_tokens(path: Path) -> Backend:
    made = Backend.from_file(str(path))
    made.add_special_tokens([each for each in CONTROL if made.token_to_id(each) is None])
    return made


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return CLOCK


def real_templates() -> dict[str, str]:
    """With marks that change nothing else."""
    return {name: marked((SHARED / "chat-templates" / name).read_text("utf-8")) for name in REAL}


def recorded(made: Backend, templates: dict[str, str]) -> dict:
    tokens = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BOS, eos_token=EOS)
    found: dict = {}
    for name, template in templates.items():
        for title, messages in CONVERSATIONS.items():
            answer = tokens.apply_chat_template(
                messages,
                chat_template=template,
                tokenize=True,
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
            ids, mask = answer["input_ids"], answer["assistant_masks"]
            digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
            found.setdefault(name, {})[title] = {"ids": digest, "count": len(ids), "learned": runs(mask)}
    return found


def main() -> None:
    chat_template_utils.datetime = FrozenClock
    phi = with_control_tokens(SHARED / "tokenizers" / "phi-3" / "tokenizer.json")
    goldens = {"transformers": transformers.__version__, "bytes": recorded(backend(), MARKED)}
    goldens["builtin"] = recorded(with_control_tokens(BUILTIN), MARKED)
    goldens["phi-3"] = recorded(phi, MARKED | real_templates())
    text = json.dumps(goldens, sort_keys=True).replace('{"count', '\n{"count')
    (HERE / "goldens" / "answer_masks.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
