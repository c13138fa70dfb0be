"""Writes the evaluation text: the sections written by hand, then sections made by code.

    python -m recipes.evaluation_text.make

What is made is dull on purpose: tables, logs, sums, calls of tools, simple stories; the things that
models read all day. The rule: the same bytes on every machine.
"""
# ruff: noqa: E501 (sentences are easier to read in one piece)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fairway.proof.strings import Draws

WRITTEN = Path(__file__).with_name("written.txt")
RESULT = Path(__file__).parents[2] / "src" / "fairway" / "proof" / "evaluation.txt"
DIVIDER = "\n%%\n"


def story(draws: Draws) -> str:
    """Ten sentences for a small child."""
    name, friend = (
        draws.pick(("Lily", "Tom", "Ben", "Mia", "Sam", "Anna")),
        draws.pick(("Max", "Sue", "Tim", "Kim")),
    )
    animal = draws.pick(("dog", "cat", "bird", "rabbit", "duck", "frog"))
    thing = draws.pick(("red ball", "blue kite", "small boat", "shiny stone", "warm hat", "big box"))
    place = draws.pick(("park", "garden", "hill", "beach", "forest", "yard"))
    feeling = draws.pick(("sad", "scared", "cold", "tired", "lost"))
    weather = draws.pick(("sunny", "windy", "rainy", "snowy"))
    return (
        f"Once upon a time, there was a little child named {name}. {name} had a {thing}. One {weather} day, {name} "
        f"went to the {place} with the {thing}. There was a {animal} under a tree, and the {animal} was {feeling}. "
        f'"Why are you {feeling}?" asked {name}. The {animal} could not speak, but it looked at the {thing}. '
        f'{name} thought for a while. Then {name}\'s friend {friend} came. "Let us help the {animal}", said '
        f"{friend}. They gave the {thing} to the {animal}, and the {animal} was not {feeling} any more. "
        f"They played together until it was dark, and then they all went home. {name} was happy.\n"
    )


def stories(draws: Draws) -> str:
    return "\n".join(story(draws) for _ in range(8))


def sums(draws: Draws) -> str:
    lines = []
    for _ in range(40):
        a, b = 1 + draws.below(900), 1 + draws.below(90)
        kind = draws.below(4)
        if kind == 0:
            lines.append(f"{a} + {b} = {a + b}")
        elif kind == 1:
            lines.append(f"{a} - {b} = {a - b}")
        elif kind == 2:
            lines.append(f"{a} * {b} = {a * b}")
        else:
            lines.append(f"{a} / {b} = {a // b} remainder {a % b}")
    return "\n".join(lines) + "\n"


def word_problems(draws: Draws) -> str:
    texts = []
    for _ in range(6):
        crates, each, sold, price = (
            3 + draws.below(9),
            12 + draws.below(30),
            5 + draws.below(20),
            2 + draws.below(6),
        )
        total = crates * each
        texts.append(
            f"Question: A shop gets {crates} crates with {each} oranges each and sells {sold} of the oranges for "
            f"{price} coins apiece. How many are left, and how much money came in?\n"
            f"Answer: There were {crates} x {each} = {total} oranges. {total} - {sold} = {total - sold} are left. "
            f"{sold} x {price} = {sold * price} coins came in.\n"
        )
    return "\n".join(texts)


def log(draws: Draws) -> str:
    lines, second = [], 14 * 3600
    events = (
        "request done",
        "cache hit",
        "cache miss",
        "retry",
        "connection closed",
        "slow query",
        "job queued",
    )
    for _ in range(36):
        second += draws.below(40)
        level = draws.pick(("INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"))
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{draws.below(1000):03d}"
        lines.append(
            f"2026-11-20T{clock}Z {level:5} worker-{draws.below(4)} {draws.pick(events)} "
            f"id={draws.below(1 << 32):08x} took={draws.below(4000) / 10}ms bytes={draws.below(100_000)}"
        )
    return "\n".join(lines) + "\n"


def csv(draws: Draws) -> str:
    lines = ["date,item,quantity,unit_price,total,paid"]
    for _ in range(30):
        quantity, cents = 1 + draws.below(40), 50 + draws.below(20_000)
        item = draws.pick(
            ("rope 12 mm", '"paint, white"', "brass screws", "lamp", "canvas", "tar", "oak plank")
        )
        lines.append(
            f"2026-{1 + draws.below(12):02d}-{1 + draws.below(28):02d},{item},{quantity},{cents / 100:.2f},"
            f"{quantity * cents / 100:.2f},{draws.pick(('yes', 'no'))}"
        )
    return "\n".join(lines) + "\n"


def table(draws: Draws) -> str:
    lines = ["| harbour | depth, m | berths | fee per night | open |", "|---|---:|---:|---:|---|"]
    names = ("Oranholm", "Vikby", "Stenness", "Port Amel", "Kaldvik", "Saint-Aubin", "Lower Quay", "Marnsund")
    for name in names:
        months = draws.pick(("all year", "May to September", "April to October"))
        depth, berths, fee = draws.below(90) / 10 + 1.5, 8 + draws.below(200), 10 + draws.below(40)
        lines.append(f"| {name} | {depth:.1f} | {berths} | {fee}.00 | {months} |")
    return "\n".join(lines) + "\n"


def calls(draws: Draws) -> str:
    """A conversation with tools, as JSON lines."""
    lines = []
    for _ in range(6):
        city, days = draws.pick(("Malmö", "Porto", "Osaka", "Lagos", "Quito", "Perth")), 1 + draws.below(5)
        degrees = draws.below(30)
        call = {"name": "weather", "arguments": {"city": city, "days": days}}
        lines += [
            {"role": "user", "content": f"What will the weather be in {city} over the next {days} days?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{draws.below(9999)}", "function": call}],
            },
            {
                "role": "tool",
                "content": json.dumps({"city": city, "high": degrees, "rain": bool(draws.below(2))}),
            },
            {"role": "assistant", "content": f"In {city} it will be up to {degrees} degrees."},
        ]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"


def settings(draws: Draws) -> str:
    """YAML, TOML and a shell session."""
    port, workers = 8000 + draws.below(999), 1 + draws.below(16)
    return (
        f"server:\n  host: 127.0.0.1\n  port: {port}\n  workers: {workers}\n  tls:\n    enabled: false\n"
        "    certificate: null\nlimits:\n  - path: /v1/*\n    per_minute: 120\n  - path: /health\n    per_minute: ~\n\n"
        f'[server]\nhost = "127.0.0.1"\nport = {port}\nworkers = {workers}\n\n[[limits]]\npath = "/v1/*"\n'
        "per_minute = 120\n\n$ curl -s localhost:"
        f'{port}/health | jq .status\n"ok"\n$ ps -o pid,rss,comm -C server\n    PID   RSS COMMAND\n'
        f"{10_000 + draws.below(9999):7d} {draws.below(99999):5d} server\n$ kill -TERM %1 && wait; echo $?\n143\n"
    )


def difference(draws: Draws) -> str:
    """A patch and its message."""
    line = 10 + draws.below(200)
    return (
        "cache: forget entries whose file is gone\n\nA file that was removed by hand stayed in the index for ever.\n\n"
        f"--- a/cache.py\n+++ b/cache.py\n@@ -{line},9 +{line},11 @@ class Cache:\n     def get(self, key):\n"
        "         entry = self._index.get(key)\n-        if entry is None:\n+        if entry is None or not "
        "entry.path.exists():\n+            self._index.pop(key, None)\n             return None\n"
        "         entry.used = time.time()\n         return entry.path.read_bytes()\n \n     def __len__(self):\n"
        "         return len(self._index)\n"
    )


def definitions(_: Draws) -> str:
    words = {
        "bight": "a wide bend in a coast, or the slack part of a rope between its ends",
        "fairway": "the part of a river or harbour that is deep enough for ships and kept free",
        "lee": "the side that is sheltered from the wind",
        "ballast": "weight that is carried to keep a vessel upright",
        "fathom": "a measure of depth: six feet, or about 1.83 metres",
        "halyard": "a rope for hoisting a sail or a flag",
        "knot": "one nautical mile an hour; also, a way of tying a rope",
        "leeway": "the drift of a vessel to the side that is away from the wind",
    }
    return "".join(f"{word} (noun): {meaning}.\n" for word, meaning in words.items())


MAKERS: tuple[Callable[[Draws], str], ...] = (
    stories, log, sums, calls, table, word_problems, csv, settings, difference, definitions, stories, sums, log,
    word_problems,
)  # fmt: skip


def text() -> str:
    """Written and made sections in turn."""
    written = WRITTEN.read_text("utf-8").rstrip("\n").split(DIVIDER)
    made = [maker(Draws(number + 1)).rstrip("\n") for number, maker in enumerate(MAKERS)]
    sections: list[str] = []
    for index, section in enumerate(written):
        sections.append(section.strip("\n"))
        if index % 2 == 1 and made:
            sections.append(made.pop(0))
    return DIVIDER.join([*sections, *made]) + "\n"


if __name__ == "__main__":
    RESULT.write_text(text(), "utf-8")
    print(f"{RESULT}: {RESULT.stat().st_size:,} bytes")
