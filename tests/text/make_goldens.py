"""Records how transformers renders every conversation with every template.

    python tests/text/make_goldens.py        (needs transformers; the suite itself does not)

Templates of this suite keep the full text; those of ../shared only digests, since nothing from there
may lie in the repository. null stands for "transformers raises".
"""

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import transformers
from transformers.utils import chat_template_utils

sys.path.insert(0, str(Path(__file__).parent))
from template_conversations import BOS, CLOCK, CONVERSATIONS, EOS, TEMPLATES

HERE = Path(__file__).parent
SHARED = HERE.parents[1].parent / "shared" / "data" / "chat-templates"


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return CLOCK


def rendering(source: str, messages: list, options: dict) -> str | None:
    options = {"add_generation_prompt": True, "bos_token": BOS, "eos_token": EOS} | options
    try:
        texts, _ = chat_template_utils.render_jinja_template([messages], chat_template=source, **options)
    except Exception:  # noqa: BLE001 (templates fail in every way there is)
        return None
    return texts[0]


def renderings(source: str) -> dict[str, str | None]:
    return {name: rendering(source, messages, options) for name, (messages, options) in CONVERSATIONS.items()}


def digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def main() -> None:
    chat_template_utils.datetime = FrozenClock
    shared = {
        path.name: {name: digest(text) for name, text in renderings(path.read_text("utf-8")).items()}
        for path in sorted(SHARED.glob("*.jinja"))
    }
    goldens = {
        "transformers": transformers.__version__,
        "own": {name: renderings(source) for name, source in TEMPLATES.items()},
        "shared": shared,
    }
    text = json.dumps(goldens, indent=1, ensure_ascii=True, sort_keys=True)
    (HERE / "goldens" / "chat_templates.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
