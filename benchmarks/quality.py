"""What rounding costs: perplexity and KL divergence of every weight and cache type against float32.

    python benchmarks/quality.py                          the built-in model and babyllama, some minutes
    python benchmarks/quality.py --models builtin --windows 2

Text that the model never saw, in windows of its whole context. The reference is the NumPy backend with
the stored weights and a float32 cache; some windows are compared with transformers in float32, where its
environment exists (`compare.py --peers transformers --prepare-only` makes it), so that nobody is judged
by themselves. GGUF types take part where llama.cpp's tools are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE, words  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.shapes import REAL, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.hf_transformers import Transformers  # noqa: E402
from benchmarks.peers.protocol import Model, Place, Unavailable  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.held_out import held_out_texts  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from benchmarks.workloads.variations import REFERENCE, Loaded, variations  # noqa: E402
from fairway.errors import FairwayError  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.proof.forward import windows  # noqa: E402
from fairway.proof.likeness import Comparison, Likeness  # noqa: E402
from fairway.tensors import F32, I32  # noqa: E402
from fairway.text.loader import load_tokenizer  # noqa: E402

TEXT = ROOT.parent / "shared" / "data" / "text"
JUDGED_WINDOWS = 2
WORKER = Path(__file__).with_name("workers") / "transformers_logits.py"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    likeness: Likeness
    weight_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "weight_bytes": self.weight_bytes} | self.likeness.to_dict()


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--models", type=words, default=list(REAL), metavar="A,B", help=f"of {', '.join(REAL)}")
    add("--windows", type=int, default=24, help="windows of the whole context (default 24)")
    add("--text", type=Path, default=TEXT, help="folder with books/ and stories (default %(default)s)")
    add("--threads", type=int, default=allowed_cores())
    add("--cache", type=Path, default=CACHE, help="where environments and GGUF files are kept")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def measure(model: Model, ids: Sequence[I32], place: Place) -> list[Row]:
    """The reference's own row first, then transformers', then every variation."""
    length = len(ids[0])
    reference = Loaded(model.folder, REFERENCE, length, place.threads)
    say(f"{model.name}: reference")
    exact = [reference.logits(each).copy() for each in ids]
    rows = [Row("float32 reference", compared(exact, exact, ids))]
    if (judged := judge(model, ids[:JUDGED_WINDOWS], place)) is not None:
        name = f"transformers float32 (first {len(judged)} windows)"
        rows.append(Row(name, compared(exact[: len(judged)], judged, ids[: len(judged)])))
    for variation in variations(model, place):
        say(f"{model.name}: {variation.name}")
        loaded = Loaded(model.folder, variation, length, place.threads)
        found = Comparison()
        for want, each in zip(exact, ids, strict=True):
            found.add(want, loaded.logits(each), each[1:])
        rows.append(Row(variation.name, found.result(), loaded.weight_bytes))
    return rows


def compared(reference: Sequence[F32], logits: Sequence[F32], ids: Sequence[I32]) -> Likeness:
    found = Comparison()
    for want, have, each in zip(reference, logits, ids, strict=False):
        found.add(want, have, each[1:])
    return found.result()


def judge(model: Model, ids: Sequence[I32], place: Place) -> F32 | None:
    """Logits from transformers; None, and a line that says so, where it is not installed."""
    python = place.environment(Transformers.environment) / "bin" / "python"
    if not python.exists():
        say(f"{model.name}: transformers is not installed in {python.parents[1]}; nobody else judges")
        return None
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "ids.npy", Path(folder) / "logits.npy"
        np.save(asked, np.stack(ids))
        subprocess.run([str(python), str(WORKER), str(model.folder), str(asked), str(answered)], check=True)
        logits: F32 = np.load(answered)
    return logits


def page(model: str, rows: Sequence[Row], known: dict[str, Any]) -> str:
    head = ["weights and cache", "weights, MB", "perplexity", "change", "KL mean", "KL p99", "same top token"]
    return (
        "\n\n".join([f"# Quality of {model}, {known['date']}", facts(known), table(head, lines(rows))]) + "\n"
    )


def lines(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            row.name,
            "–" if row.weight_bytes is None else f"{row.weight_bytes / 1e6:.2f}",
            f"{row.likeness.perplexity:.3f}",
            f"{row.likeness.perplexity_change:+.2%}",
            f"{row.likeness.kl_mean:.2g}",
            f"{row.likeness.kl_p99:.2g}",
            f"{row.likeness.same_top:.2%}",
        ]
        for row in rows
    ]


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), args.threads, 1, args.llama_bin)
    for name in args.models:
        try:
            model = model_of(name, place.cache)
            bundle = open_bundle(model.folder)
            assert bundle.tokenizer is not None
            texts = held_out_texts(name, args.text)
            ids = windows(load_tokenizer(bundle.tokenizer), texts, model.context, args.windows)
            rows = measure(model, ids, place)
        except (Unavailable, FairwayError) as error:
            say(f"{name}: {error}")
            continue
        known = {"date": now(), "text": source(name), "windows": f"{len(ids)} of {len(ids[0])} tokens"}
        known |= machine(place)
        shown = page(name, rows, known)
        divergences = {row.name: row.likeness.kl_mean for row in rows[1:]}
        picture = bars(f"{name}: mean KL divergence from float32, nats per token", divergences)
        save(
            args.results, f"quality-{name}", known | {"rows": [row.to_dict() for row in rows]}, shown, picture
        )
        print(shown)


def source(model: str) -> str:
    return "books held out by the recipe" if model == "builtin" else "TinyStories, validation split"


if __name__ == "__main__":
    main()
