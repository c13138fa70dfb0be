"""What a model file holds, as one page: facts, types, memory, and its structure layer by layer.

Reads headers only. The rule: a node of the graph leads to its tensors, and every tensor can be found by
typing a part of its name, type or shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fairway.formats.bundle import Bundle, TensorInfo
from fairway.formats.summary import Summary, summarize
from fairway.models.names import stored_names
from fairway.report.charts import NUM_COLOURS, parts
from fairway.report.html import Child, Html, el, join
from fairway.report.page import count, facts, page, section, size, table
from fairway.report.structure import Block, Node, Stage, structure_of

SCRIPT = "inspect.js"
TYPICAL_CONTEXT = 4096
FAMILIES = {
    "Embed": "table", "AddPosition": "table", "RMSNorm": "norm", "LayerNorm": "norm", "Linear": "linear",
    "Rope": "rope", "Attention": "attention", "Gate": "gate", "Activate": "gate",
}  # fmt: skip
"""Kind of step -> its colour."""


def inspect_page(bundle: Bundle, obstacle: str | None = None) -> str:
    """The whole document; `obstacle` says why the model cannot be run."""
    summary, stages = summarize(bundle), structure_of(bundle)
    colours = {kind: f"k{index % NUM_COLOURS}" for index, kind in enumerate(summary.types)}
    ids = {name: f"t{index}" for index, name in enumerate(bundle.tensors.infos)}
    drawing = Drawing(bundle, colours, ids, max((stage.num_bytes for stage in stages), default=1) or 1)
    return page(
        f"{summary.name}: what the file holds",
        "inspect",
        _title(summary, str(bundle.path), obstacle),
        _overview(bundle, summary),
        _structure(drawing, stages),
        _sidecars(bundle),
        script=SCRIPT,
    )


def _title(summary: Summary, path: str, obstacle: str | None) -> Html:
    words = [summary.architecture, summary.container, f"{count(summary.num_parameters)} parameters"]
    line = ", ".join(word for word in (*words, size(summary.weight_bytes)) if word)
    notes = [*summary.warnings, *([f"Cannot be run as it is: {obstacle}"] if obstacle else [])]
    banners = (el("p", note, class_="banner") for note in notes)
    return el(
        "div", el("h1", summary.name), el("p", line, class_="lead"), el("p", path, class_="path"), banners
    )


def _overview(bundle: Bundle, summary: Summary) -> Html:
    heads = f"{summary.num_heads}, {summary.num_kv_heads} for keys and values" if summary.num_heads else None
    rows: list[tuple[str, Child]] = [
        ("layers", summary.num_layers),
        ("width", summary.hidden_size),
        ("heads", heads),
        ("vocabulary", f"{summary.vocab_size:,} tokens" if summary.vocab_size else None),
        ("context", f"{summary.context_length:,} tokens" if summary.context_length else None),
        ("tokenizer", summary.tokenizer or "none"),
        ("chat template", "yes" if summary.has_chat_template else "no"),
        ("ends with ids", ", ".join(map(str, summary.end_of_text_ids)) or "none"),
        ("pooling", bundle.pooling.kind if bundle.pooling else None),
        ("licence", summary.licence or "not stated"),
    ]
    known = facts(*((name, value) for name, value in rows if value is not None))
    return el(
        "div", section("Model", known), section("Types", _types(summary), *_memory(summary)), class_="pair"
    )


def _types(summary: Summary) -> Html:
    by_bytes = {name: float(kind.num_bytes) for name, kind in summary.types.items()}
    rows: list[tuple[Child, ...]] = [
        (name, f"{kind.num_tensors:,}", count(kind.num_elements), size(kind.num_bytes))
        for name, kind in summary.types.items()
    ]
    head = ("type", "tensors", "parameters", "bytes")
    return join(parts(by_bytes, "Types by bytes"), el("div", table(head, rows, numbers=3), class_="gap"))


def _memory(summary: Summary) -> list[Child]:
    """Weights and one full cache, at a usual context and at the whole one."""
    typical = min(TYPICAL_CONTEXT, summary.context_length or TYPICAL_CONTEXT)
    needs = [summary.memory(tokens) for tokens in sorted({typical, summary.context_length or typical})]
    drawn: list[Child] = [el("h3", "Memory to serve it", class_="gap") if any(needs) else None]
    for need in needs:
        if need is not None:
            text = f"{size(need.total_bytes)} at {need.context:,} tokens"
            shares = {"weights": float(need.weight_bytes), "cache of one sequence": float(need.kv_bytes)}
            drawn += [el("p", text, class_="small"), parts(shares, text)]
    return drawn


class Drawing:
    """What all parts of the structure share."""

    def __init__(
        self, bundle: Bundle, colours: Mapping[str, str], ids: Mapping[str, str], most_bytes: int
    ) -> None:
        self.infos = bundle.tensors.infos
        self.stored = stored_names(bundle.tensors.infos)
        self.colours = colours
        self.ids = ids
        self.most_bytes = most_bytes

    def info(self, family_name: str) -> TensorInfo:
        return self.infos[self.stored[family_name]]

    def chip(self, kind: str) -> Html:
        return el("span", kind, class_=f"chip {self.colours.get(kind, 'k5')}")


def _structure(drawing: Drawing, stages: Sequence[Stage]) -> Html:
    search = el(
        "input", type="search", id="search", placeholder="Find tensors: q_proj, Q4_K, 896 …",
        aria_label="Find tensors by name, type or shape", autocomplete="off", spellcheck="false",
    )  # fmt: skip
    names = (("open", "Open all"), ("close", "Close all"))
    buttons = [el("button", text, type="button", id=name) for name, text in names]
    pressed = (("/", " find  "), ("j", ""), ("k", " move  "), ("Enter", " open"))
    keys = el("p", ((el("kbd", key), text) for key, text in pressed), class_="keys")
    total = sum(len(stage.tensors) for stage in stages)
    status = el("p", f"{total:,} tensors", id="count", role="status")
    tools = el("div", search, status, *buttons, keys, class_="tools")
    cards = [_card(drawing, stage, is_open=index == 1) for index, stage in enumerate(stages)]
    return section("Structure", tools, el("ol", cards, class_="flow"))


def _card(drawing: Drawing, stage: Stage, *, is_open: bool) -> Html:
    share = stage.num_bytes / drawing.most_bytes
    figures = f"{count(stage.num_parameters)} · {size(stage.num_bytes)}"
    summary = el(
        "summary",
        el("b", stage.name),
        el("span", map(drawing.chip, stage.types), class_="chips"),
        el("span", figures, class_="figures"),
        el("span", el("i", style=f"width:{share:.1%}"), class_="amount", aria_hidden="true"),
    )
    above = [0, *(len(block.rows[-1]) if not block.adds else 1 for block in stage.blocks if block.rows)]
    blocks = [_block(drawing, block, last) for block, last in zip(stage.blocks, above, strict=False)]
    graph = el("div", blocks, class_="graph") if blocks else None
    inside = el(
        "div", graph or None, _tensors(drawing, stage.tensors), class_="inside" + (" with" if graph else "")
    )
    return el("li", el("details", summary, inside, class_="card", open=is_open))


def _block(drawing: Drawing, block: Block, above: int) -> Html:
    """`above` is how many nodes the row before it has."""
    rows: list[Html] = []
    for nodes in block.rows:
        merge = el("i", class_="merge", style=f"--n:{above}") if above > 1 else None
        drawn = (_node(drawing, node) for node in nodes)
        rows.append(el("div", merge, drawn, class_="row", style=f"--n:{len(nodes)}"))
        above = len(nodes)
    end = block.adds and join(
        el("span", class_="rail"), el("div", el("span", "+", class_="plus"), class_="row")
    )
    return el("div", rows, end or None, class_="block")


def _node(drawing: Drawing, node: Node) -> Html:
    look = f"node {FAMILIES.get(node.kind, 'other')}"
    if not node.tensors:
        return el(
            "span", el("b", node.name), el("small", node.details or node.kind), class_=look, title=node.kind
        )
    info = drawing.info(node.tensors[0])
    shape = " × ".join(map(str, info.shape))
    title = f"{node.kind} {node.name}: {info.type} {shape}, {size(info.num_bytes)}" + (
        f"; {node.details}" if node.details else ""
    )
    lines = el("b", node.name), el("small", shape), drawing.chip(info.type)
    return el("a", lines, href=f"#{drawing.ids[info.name]}", class_=look, title=title)


def _tensors(drawing: Drawing, tensors: Sequence[TensorInfo]) -> Html:
    head = el("tr", (el("th", name, scope="col") for name in ("tensor", "type", "shape", "bytes")))
    rows = (
        el(
            "tr",
            el("td", info.name),
            el("td", drawing.chip(info.type)),
            el("td", " × ".join(map(str, info.shape)) or "scalar"),
            el("td", f"{info.num_bytes:,}", class_="n"),
            id=drawing.ids[info.name],
        )
        for info in tensors
    )
    return el("div", el("table", el("thead", head), el("tbody", rows)), class_="tensors")


def _sidecars(bundle: Bundle) -> Child:
    """What travels with the weights, as it is written."""
    config = json.dumps(dict(bundle.config), indent=2, ensure_ascii=False, default=str)
    shown: list[tuple[str, str | None]] = [
        (bundle.config_name, config if bundle.config else None),
        ("chat template", bundle.chat_template),
    ]
    folded = [
        el("details", el("summary", name), el("pre", text), class_="more")
        for name, text in shown
        if text is not None
    ]
    return section("Beside the weights", folded) if folded else None
