"""Run as a program it is `fairway`, whose `tune` checks data as it is and trains nothing: it takes its time,
writes what training writes, stops when asked, and ends with the adapter that FAIRWAY_TEST_ADAPTER names.

FAIRWAY_TEST_STEPS is how many updates it does, FAIRWAY_TEST_PAUSE_S how long each takes, FAIRWAY_TEST_FAIL
what it says in place of the third.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from fairway.cli.main import run
from fairway.tune.recipe import read_recipe
from fairway.tune.run_folder import Facts, RunFolder

FACTS = Facts("builtin", "sha256:0", "data", "sha256:1", None, None, 4, 4, 40)
DONE = "done.txt"


def main() -> int:
    words = sys.argv[1:]
    if "--check" in words:
        return run(words)
    folder = RunFolder(Path(words[words.index("--out") + 1]))
    if "--resume" in words:
        folder.recipe()
    else:
        folder.check_empty()
        folder.begin(read_recipe(Path(words[words.index("--recipe") + 1]), {}), FACTS)
    return train(folder)


def train(folder: RunFolder) -> int:
    asked = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    adapter, num_steps = Path(os.environ["FAIRWAY_TEST_ADAPTER"]), int(os.environ["FAIRWAY_TEST_STEPS"])
    done = folder.path / DONE
    start = int(done.read_text()) if done.is_file() else 0
    folder.keep_until(start)
    for step in range(start + 1, num_steps + 1):
        time.sleep(float(os.environ.get("FAIRWAY_TEST_PAUSE_S", "0")))
        if step == 3 and (failure := os.environ.get("FAIRWAY_TEST_FAIL")):
            print(f"Error: {failure}", file=sys.stderr)
            return 1
        figures = {"step": step, "num_steps": num_steps, "loss": 1 / step, "seconds": 0.1, "num_tokens": 40}
        figures["mean_token_accuracy"] = 1 - 1 / step
        if step % 2 == 0:
            figures |= {"held_out_loss": 2 / step, "held_out_mean_token_accuracy": 0.5}
        folder.add(figures)
        if step % 2 == 0 and step < num_steps:
            shutil.copytree(adapter, folder.path / "epochs" / f"step-{step}" / "adapter", dirs_exist_ok=True)
            done.write_text(str(step))
        if asked:
            done.write_text(str(step))
            return 130
    shutil.copytree(adapter, folder.path / "adapter", dirs_exist_ok=True)
    folder.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
