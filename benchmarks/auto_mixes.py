"""`fairway quantize --auto` beside the usual mixes, at the same size, on text that neither has seen.

    python benchmarks/auto_mixes.py                      the built-in model and babyllama, some minutes
    python benchmarks/auto_mixes.py --models builtin --windows 4

For every usual mix the budget is the size of its file to the byte. The choice is made on Fairway's own text;
the judge is the text that `quality.py` uses, with weights widened to float32, so that nothing but the weights
differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE, words  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.shapes import REAL, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.protocol import Place, Unavailable  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.held_out import held_out_texts  # noqa: E402
from benchmarks.workloads.quantized_file import Judge  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.autoquantize.task import USUAL  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.proof.forward import windows  # noqa: E402
from fairway.text.loader import load_tokenizer  # noqa: E402

TEXT = ROOT.parent / "shared" / "data" / "text"
WINDOW = 256
Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--models", type=words, default=list(REAL), metavar="A,B", help=f"of {', '.join(REAL)}")
    add("--windows", type=int, default=32, help=f"of {WINDOW} tokens (default %(default)s)")
    add("--text", type=Path, default=TEXT, help="folder with books/ and stories (default %(default)s)")
    add("--threads", type=int, default=allowed_cores())
    add("--cache", type=Path, default=CACHE, help="where models are kept")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def fairway(folder: Path, *arguments: str) -> Row:
    """What a command says as JSON, and its seconds; measurements are kept in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "fairway.cli.main", *arguments, "--json", "--force"]
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: Row = json.loads(done.stdout)
    return found | {"seconds": time.perf_counter() - begun}


def measure(name: str, args: argparse.Namespace, place: Place) -> dict[str, Row]:
    """Rows by mix; a mix that is another one again for this model is left out."""
    model = model_of(name, place.cache)
    tokenizer = open_bundle(model.folder).tokenizer
    assert tokenizer is not None
    ids = windows(load_tokenizer(tokenizer), held_out_texts(name, args.text), WINDOW, args.windows)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder, source = Path(temporary), str(model.folder)
        exact, usual, own = (folder / f"{each}.gguf" for each in ("exact", "usual", "own"))
        fairway(folder, "convert", source, "--to", "gguf", "--out", str(exact))
        judge = Judge(model, exact, ids, place.threads)
        for mix in USUAL:
            size = fairway(folder, "quantize", source, "--to", mix, "--out", str(usual))["num_bytes"]
            if size in [row["num_bytes"] for row in rows.values()]:
                continue
            goal = ["--auto", "--budget", str(size), "--out", str(own)]
            made = fairway(folder, "quantize", source, *goal)
            rows[mix] = {
                "num_bytes": size,
                "auto_bytes": made["num_bytes"],
                "seconds": made["seconds"],
                "foretold": made["auto"]["chosen"]["kl_mean"],
                "usual": judge.judge(usual),
                "auto": judge.judge(own),
            }
            kl = [f"{rows[mix][key]['kl_mean']:.3g}" for key in ("usual", "auto")]
            say(f"{name}, {mix}: KL {kl[0]}, auto {kl[1]}")
    return rows


def lines(rows: dict[str, Row]) -> list[list[str]]:
    return [
        [
            mix,
            f"{row['num_bytes'] / 1e6:.3f}",
            f"{row['auto_bytes'] / 1e6:.3f}",
            f"{row['usual']['kl_mean']:.3g}",
            f"{row['auto']['kl_mean']:.3g}",
            f"{row['auto']['kl_mean'] / row['usual']['kl_mean'] - 1:+.0%}",
            f"{row['usual']['same_top']:.2%}",
            f"{row['auto']['same_top']:.2%}",
            f"{row['seconds']:.1f}",
        ]
        for mix, row in rows.items()
    ]


HEAD = (
    "mix", "its MB", "auto, MB", "its KL", "auto, KL", "change", "its same top token", "auto, same top token",
    "seconds",
)  # fmt: skip


def page(name: str, rows: dict[str, Row], known: dict[str, Any]) -> str:
    title = f"# A mix of its own for {name}, {known['date']}"
    return "\n\n".join([title, facts(known), table(HEAD, lines(rows))]) + "\n"


def picture(name: str, rows: dict[str, Row]) -> str:
    values = {}
    for mix, row in rows.items():
        values[mix] = row["usual"]["kl_mean"]
        values[f"auto, as large as {mix}"] = row["auto"]["kl_mean"]
    return bars(f"{name}: mean KL divergence on text not seen, nats per token", values)


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), args.threads, 1)
    for name in args.models:
        try:
            rows = measure(name, args, place)
        except Unavailable as error:
            say(f"{name}: {error}")
            continue
        known = {"date": now(), "judged on": f"{args.windows} windows of {WINDOW} tokens"} | machine(place)
        data = known | {"rows": rows}
        save(args.results, f"auto-mixes-{name}", data, page(name, rows, known), picture(name, rows))
        print(page(name, rows, known))


if __name__ == "__main__":
    main()
