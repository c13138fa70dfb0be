"""Thousands of strings on which tokenizers tend to disagree, the same on every machine.

Made by code from nothing but constants: no file, no Unicode database (which differs between Python
versions), no random module. The rule: every string is valid Unicode, without lone surrogates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Named = tuple[str, str]
"""Kind of string, string."""

SURROGATES = range(0xD800, 0xE000)
SPACES = (" ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x0b", "\x85")
EMOJI = (
    "😀", "🦙", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "1️⃣", "❤️", "❤", "☺︎", "🧑🏿‍🚀", "🫠",
    "🀄", "©️",
)  # fmt: skip
MARKS = (
    "e\u0301", "é", "A\u030a", "Å", "\u212b", "o\u0308\u0304", "ȫ", "ﬁ", "ﬃ", "①", "½", "x²", "Ⅷ", "ﷺ",
    "각", "\u1100\u1161\u11a8", "g\u0331\u0302\u0335", "क्षि", "ক্ষ", "ำ", "e\u0316\u0301", "\u0301e", "İ",
    "ß", "ẞ", "ς", "Σ", "a\u200db", "a\u200cb", "\u202eabc\u202c", "ab\u00adcd", "ｆｕｌｌ　ｗｉｄｔｈ",
    "𝒻𝓪𝖎𝗋", "ٱلسَّلَامُ", "שָׁלוֹם",
)  # fmt: skip
WORDS = (
    "the", "The", "fairway", "Fairway's", "don't", "DON'T", "it's", "we'll", "they've", "co-operate",
    "naïve", "Straße", "Привет", "мир", "日本語", "中文字符", "한국어", "ภาษาไทย", "हिन्दी", "العربية",
    "ελληνικά", "Việt", "ქართული", "C++", "x_1", "__init__", "camelCase", "HTTPServer2", "e.g.", "U.S.A.",
    "#tag", "@name", "50%", "$9.99", "3rd", "http://example.org/a?b=c&d=%20", "a@b.example",
    "2026-11-20T14:05:09Z", "1,234,567.89", "-0.5e-10", "0xDEADBEEF",
)  # fmt: skip
CODE = (
    "def f(x: int) -> int:\n    return x**2  # squared\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    'print(f"{x!r:>10}")\nif x != y and not z: pass\n',
    '{"key": [1, 2.5, null, true], "nested": {"a": "\\u00e9\\n"}}',
    "<html><body class='a'>&amp; <!-- note --></body></html>",
    "SELECT * FROM t WHERE a >= 10 AND b LIKE '%x%';",
    "const f = async (a) => { await g(...a); };\n\n\n\nexport default f;",
    "#!/bin/sh\nset -eu\ncat <<'END' | sed 's/^/  /'\n$HOME\nEND\n",
    "| a | b |\n|---|---:|\n| 1 | 2 |\n\n- [x] done\n  1. sub\n\n```py\nx\n```\n",
    "\\begin{align} \\frac{a}{b} &= \\sum_{i=0}^{n} x_i \\\\ \\end{align}",
    'fn main() -> Result<(), Box<dyn Error>> { let x: &\'static str = r#"a"#; Ok(()) }',
    "        eight spaces\n\t\ttwo tabs\n   \n  mixed \t indent",
)
EDGES = (
    "", " ", "  ", "\n", "\n\n\n", "a", " a", "a ", "  a  ", "\x00", "a\x00b", "\x01\x1f\x7f", "\ufeff",
    "\ufeffa", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\ue000", "\U000f0000", "\U000e0041", "▁", "▁a",
    "a▁b", "Ġ", "Ċ", "##ing", "<0x0A>", "<unk>", "[UNK]", "<s>", "</s>", "<|endoftext|>", "'s", "'S", "''",
    '"', "...", "…", "—", "!!!", "?!?!",
)  # fmt: skip


class Draws:
    """Numbers from a fixed linear congruence, the same everywhere and for ever."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self._state >> 33) % limit

    def pick(self, of: Sequence[str]) -> str:
        return of[self.below(len(of))]


def battery_strings(special: Sequence[str] = (), *, quick: bool = False) -> Iterator[Named]:
    """Every string with its kind; `special` are the control tokens' spellings. `quick`: about a quarter."""
    step = 4 if quick else 1
    for text in EDGES:
        yield "edge", text
    for text in CODE:
        yield "code", text
        yield "code", text * 3
    yield from _pages(step)
    yield from _white_space()
    yield from _digits()
    for text in (*EMOJI, *MARKS):
        yield from (("marks and emoji", form) for form in (text, f"a{text}b", f" {text} ", text * 3))
    yield from _long_words()
    yield from _mixtures(1600 // step)
    for token in special:
        yield from _around(token)


def _pages(step: int) -> Iterator[Named]:
    """Some characters of every 256 code points below U+30000, assigned or not."""
    for page in range(0, 0x300, step):
        if page << 8 in SURROGATES:
            continue
        first = page << 8
        yield "unicode", "".join(chr(first + offset) for offset in (0x21, 0x22, 0x41, 0x42, 0x99, 0xE0))
        yield "unicode", f"a{chr(first + 0x61)} {chr(first + 0x10)}{chr(first + 0x30)}9{chr(first + 0xFF)}"


def _white_space() -> Iterator[Named]:
    for space in SPACES:
        for length in (1, 2, 3, 4, 7, 8, 16, 33):
            yield "white space", space * length
            yield "white space", f"a{space * length}b"
            yield "white space", f"{space * length}word"
            yield "white space", f"end.{space * length}"
    for first in SPACES:
        yield from (("white space", f"x{first}{second}{first}y") for second in SPACES)


def _digits() -> Iterator[Named]:
    digits = "31415926535897932384626433832795"
    for length in range(1, len(digits)):
        yield "digits", digits[:length]
        yield "digits", f"a{digits[-length:]} {digits[:length]}.{digits[:length]}"
    for zero in (0x660, 0x966, 0xFF10, 0x1D7D8):
        yield "digits", "".join(chr(zero + int(digit)) for digit in digits[:9])


def _long_words() -> Iterator[Named]:
    draws = Draws(7)
    for length in (17, 64, 100, 255, 256, 257, 1000, 4000):
        yield "long", "a" * length
        yield "long", "ab" * (length // 2)
        yield "long", "".join(chr(97 + draws.below(26)) for _ in range(length))
        yield "long", "字" * (length // 4)
        yield "long", "=" * length


def _mixtures(count: int) -> Iterator[Named]:
    """Lines of words, spaces, digits, punctuation and stray characters."""
    draws = Draws(2026)
    for _ in range(count):
        parts = []
        for _ in range(2 + draws.below(9)):
            kind = draws.below(8)
            if kind < 4:
                parts.append(draws.pick(WORDS))
            elif kind == 4:
                parts.append(str(draws.below(10 ** (1 + draws.below(9)))))
            elif kind == 5:
                parts.append(draws.pick((*EMOJI, *MARKS)))
            elif kind == 6:
                parts.append(
                    draws.pick((",", ". ", ";", ":", "?", "!", "(", ")", "[", "}", '"', "'", "/", "\\"))
                )
            else:
                parts.append(_character(draws))
            parts.append(draws.pick((" ", " ", " ", "", "  ", "\n", "\t")))
        yield "mixture", "".join(parts)


def _character(draws: Draws) -> str:
    code = draws.below(0x30000)
    return "\u00b7" if code in SURROGATES else chr(code)


def _around(token: str) -> Iterator[Named]:
    """A control token alone, inside text, doubled, cut and in other letters."""
    forms = (token, f"a{token}b", f" {token} ", f"{token}{token}", f"x\n{token}\ny", token[:-1], token[1:])
    other = (token.upper(), token.lower(), f"{token[:1]} {token[1:]}")
    yield from (("special token", form) for form in (*forms, *other))
