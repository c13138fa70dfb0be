"""Says which flags of `engine_flags.toml` a program's own --help names, to record them again.

python tests/map/routes/record_engine_flags.py llama-server PROGRAM [ARGUMENT...]
"""

import re
import subprocess
import sys
from pathlib import Path

import tomllib

TABLE = Path(__file__).with_name("engine_flags.toml")


def flags_of(command):
    """Every flag that `command --help` names."""
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=120, check=True)
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", done.stdout + done.stderr))


def main():
    name, *command = sys.argv[1:]
    named = flags_of(command)
    for flag in tomllib.loads(TABLE.read_text("utf-8"))[name]["flags"]:
        print(flag, "yes" if flag in named else "NO")


if __name__ == "__main__":
    main()
