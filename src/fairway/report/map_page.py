"""The landscape as one page: stages from left to right, formats as ports, conversions as lanes.

Everything stands in the page as lists and tables; the script draws the lanes, highlights what belongs
together and filters. The rule: without the script, by keyboard or read aloud, the same is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.map.catalogue import Catalogue
from fairway.map.catalogue.schema import Disagreement, Format, Role, Stage, Tool
from fairway.map.landscape import STANDINGS, STATES, Findings, Place, State, places
from fairway.report.html import Child, Html, el
from fairway.report.page import FOLDER, facts, page, policy, section, table

YARD = "package"
SIGNS: dict[State, str] = {
    "ready": "●",
    "possible": "○",
    "hardware": "▲",
    "account": "◆",
    "cluster": "■",
    "unknown": "·",
}
GROUPS = (
    ("", ("library", "engine", "compiler", "server", "platform", "service", "tool")),
    ("Methods", ("method",)),
    ("Layers below", ("layer",)),
)
NO_CHOICE = "Everybody"


def map_policy() -> str:
    """The headers' policy where a server sends the page."""
    code = (FOLDER / "map.js").read_text("utf-8")
    return f"{policy(code)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def map_page(catalogue: Catalogue, findings: Findings | None) -> str:
    """The whole document. Without findings nothing is said about the machine."""
    shown = places(catalogue, findings)
    stages = sorted(catalogue.stages.values(), key=lambda each: each.order)
    board = el(
        "div",
        el("svg", class_="wires", id="wires", aria_hidden="true"),
        (_stage(catalogue, stage, shown) for stage in stages),
        class_="board",
        id="board",
    )
    return page(
        "The map",
        "map",
        _head(catalogue),
        _controls(catalogue, shown),
        el("p", id="leaves", class_="leaves", role="status", hidden=True),
        board,
        _detail(),
        _alternative(catalogue, shown),
        _disagreements(catalogue),
        script="map.js",
        style="map.css",
    )


def _head(catalogue: Catalogue) -> Html:
    lead = (
        "From weights to answers, left to right. Tools stand in their stage, formats are the ports between "
        "them, and lanes are conversions: solid ones Fairway does and proves."
    )
    counts = (
        (len(catalogue.tools), "tools"),
        (len(catalogue.formats), "formats"),
        (len(catalogue.conversions), "lanes"),
        (len(catalogue.terms), "words"),
    )
    tally = el("ul", (el("li", el("b", number), " ", name) for number, name in counts), class_="tally")
    return el("div", el("div", el("h1", "The map"), el("p", lead, class_="lead")), tally, class_="head")


def _controls(catalogue: Catalogue, shown: Sequence[Place]) -> Html:
    search = el(
        "input",
        id="search",
        type="search",
        placeholder="Find a tool, a format, a word",
        aria_label="Find on the map",
        autocomplete="off",
    )
    roles = el(
        "select",
        el("option", NO_CHOICE, value=""),
        (
            el("option", role.name, value=role.id, data_leaves=_leaves(role))
            for role in catalogue.roles.values()
        ),
        id="role",
    )
    ignore = el(
        "button", "What can I ignore?", id="ignore", type="button", aria_pressed="false", disabled=True
    )
    states = (_state_filter(state, shown) for state in STATES)
    return el(
        "div",
        el("div", search, el("label", "I am ", roles), ignore, class_="ask"),
        el("div", states, class_="states", role="group", aria_label="Show by what it needs"),
        el("p", id="count", class_="count", role="status"),
        class_="controls",
        role="search",
    )


def _leaves(role: Role) -> str:
    return f"Left to others: {role.leaves}"


def _state_filter(state: State, shown: Sequence[Place]) -> Child:
    number = sum(place.state == state for place in shown)
    if not number:
        return None
    label = (
        el("span", SIGNS[state], class_=f"sign {state}", aria_hidden="true"),
        STATES[state],
        el("small", number),
    )
    return el("button", label, type="button", data_state=state, aria_pressed="false")


# --- the board


def _stage(catalogue: Catalogue, stage: Stage, shown: Sequence[Place]) -> Html:
    found = [place for place in shown if place.tool.stage == stage.id]
    owners = ", ".join(catalogue.roles[role].name for role in stage.roles)
    title = el(
        "h2", el("span", stage.order, class_="number", aria_hidden="true"), stage.name, id=f"s-{stage.id}"
    )
    return el(
        "section",
        el("div", title, el("p", owners, class_="owners"), class_="sign-post"),
        el("p", stage.what, class_="what"),
        _yard(catalogue) if stage.id == YARD else None,
        (
            _group(catalogue, name, [each for each in found if each.tool.kind in kinds])
            for name, kinds in GROUPS
        ),
        class_=f"stage {stage.id}",
        aria_labelledby=f"s-{stage.id}",
        data_stage=stage.id,
    )


def _group(catalogue: Catalogue, name: str, found: Sequence[Place]) -> Child:
    if not found:
        return None
    cards = el(
        "ul", (_card(catalogue, place) for place in found), class_="cards" if not name else "cards small"
    )
    return (el("h3", name) if name else None, cards)


def _card(catalogue: Catalogue, place: Place) -> Html:
    tool = place.tool
    sign = el("span", SIGNS[place.state], class_=f"sign {place.state}", aria_hidden="true")
    spoken = el("span", f"({STATES[place.state]})", class_="spoken")
    button = el(
        "button",
        sign,
        el("span", tool.name, class_="name"),
        spoken,
        type="button",
        class_="tool here" if place.is_here else "tool",
        data_id=tool.id,
        data_reads=" ".join(tool.reads),
        data_writes=" ".join(tool.writes),
        data_roles=" ".join(tool.roles),
        data_state=place.state,
        data_words=" ".join((tool.id, *tool.aliases, tool.what)).lower(),
    )
    return el("li", button, el("div", _tool_facts(catalogue, place), class_="more", hidden=True))


def _tool_facts(catalogue: Catalogue, place: Place) -> Child:
    tool = place.tool
    standing = STANDINGS[tool.fairway] + (f": {tool.says}" if tool.says else "")
    rows: list[tuple[str, Child]] = [("reads", _names(catalogue, tool.reads))] if tool.reads else []
    rows += [("writes", _names(catalogue, tool.writes))] if tool.writes else []
    rows += [("this machine", STATES[place.state] + (f": {place.lacks}" if place.lacks else ""))]
    rows += [("Fairway", standing)]
    rows += [("commands", el("code", ", ".join(tool.commands)))] if tool.commands else []
    rows += [("for", ", ".join(catalogue.roles[role].name for role in tool.roles))]
    rows += [("state", tool.status)] if tool.status != "active" else []
    rows += [("source", catalogue.cited(tool.sources))]
    return (el("h3", tool.name), el("p", tool.what), facts(*rows), _notes(catalogue, tool.id))


def _names(catalogue: Catalogue, formats: Iterable[str]) -> str:
    return ", ".join(catalogue.formats[each].name for each in formats)


def _notes(catalogue: Catalogue, entry_id: str) -> Child:
    found = [each for each in catalogue.disagreements.values() if entry_id in each.about]
    return [el("p", el("b", each.question), " ", each.now, class_="disagree") for each in found]


def _yard(catalogue: Catalogue) -> Html:
    """Formats in three columns: what comes in, what goes both ways, what goes out."""
    columns: tuple[list[Format], list[Format], list[Format]] = ([], [], [])
    for each in catalogue.formats.values():
        columns[_column(catalogue, each)].append(each)
    names = ("Formats that come in", "Formats that go both ways", "Formats that go out")
    lists = (
        el("ul", (_port(catalogue, each) for each in column), class_="ports", aria_label=name)
        for name, column in zip(names, columns, strict=True)
    )
    return el("div", lists, class_="yard")


def _column(catalogue: Catalogue, of: Format) -> int:
    lanes = [lane for lane in catalogue.conversions.values() if lane.reads != lane.writes]
    leaves = any(lane.reads == of.id for lane in lanes)
    arrives = any(lane.writes == of.id for lane in lanes)
    if leaves and arrives:
        return 1
    return 2 if arrives or (not leaves and of.kind == "package") else 0


def _port(catalogue: Catalogue, of: Format) -> Html:
    is_hub = of.fairway == "reads and writes" and _column(catalogue, of) == 1
    button = el(
        "button",
        el("span", of.name, class_="name"),
        el("span", f"(format; Fairway {of.fairway} it)", class_="spoken"),
        type="button",
        class_=" ".join(("port", *(["here"] if of.fairway != "knows" else []), *(["hub"] if is_hub else []))),
        data_id=of.id,
        data_words=" ".join((of.id, *of.files, of.what)).lower(),
    )
    return el("li", button, el("div", _format_facts(catalogue, of), class_="more", hidden=True))


def _format_facts(catalogue: Catalogue, of: Format) -> Child:
    ways = [lane for lane in catalogue.conversions.values() if lane.reads == of.id]
    rows: list[tuple[str, Child]] = [("files", el("code", ", ".join(of.files)))] if of.files else []
    rows += [("Fairway", f"{of.fairway} it")]
    rows += [("becomes", el("ul", (_way(catalogue, lane.writes, lane.how) for lane in ways)))] if ways else []
    rows += [
        ("read by", _tools(catalogue, of.id, "reads")),
        ("written by", _tools(catalogue, of.id, "writes")),
    ]
    rows += [("beware", "loading one may run its author's code")] if of.runs_code else []
    rows += [("source", catalogue.cited(of.sources))]
    return (el("h3", of.name), el("p", of.what), facts(*rows), _notes(catalogue, of.id))


def _way(catalogue: Catalogue, target: str, how: str) -> Html:
    return el("li", f"{catalogue.formats[target].name}: ", el("code", how))


def _tools(catalogue: Catalogue, of: str, side: str) -> str:
    found = [tool.name for tool in catalogue.tools.values() if of in getattr(tool, side)]
    return ", ".join(found) or "nobody in the catalogue"


def _detail() -> Html:
    close = el("button", "×", id="close", type="button", aria_label="Close")
    return el(
        "aside", close, el("div", id="about"), id="detail", class_="detail", aria_label="About", hidden=True
    )


# --- the same in words


def _alternative(catalogue: Catalogue, shown: Sequence[Place]) -> Html:
    head = ("tool", "stage", "what it is", "reads", "writes", "this machine", "Fairway")
    rows = [_row(catalogue, place.tool, place) for place in shown]
    lanes: list[tuple[Child, ...]] = [
        (
            el("span", lane.id, data_from=lane.reads, data_to=lane.writes, data_by=lane.by),
            catalogue.formats[lane.reads].name,
            catalogue.formats[lane.writes].name,
            "Fairway" if lane.by == "fairway" else catalogue.tools[lane.by].name,
            lane.keeps,
            el("code", lane.how),
        )
        for lane in catalogue.conversions.values()
    ]
    return section(
        "The same as tables",
        el("details", el("summary", f"All {len(rows)} tools"), table(head, rows), class_="more"),
        el(
            "details",
            el("summary", f"All {len(lanes)} conversions"),
            table(("lane", "from", "to", "by", "keeps", "how"), lanes),
            class_="more",
            id="lanes",
        ),
    )


def _row(catalogue: Catalogue, tool: Tool, place: Place) -> tuple[Child, ...]:
    lacks = f": {place.lacks}" if place.lacks else ""
    return (
        tool.name,
        catalogue.stages[tool.stage].name,
        tool.what,
        _names(catalogue, tool.reads),
        _names(catalogue, tool.writes),
        STATES[place.state] + lacks,
        STANDINGS[tool.fairway],
    )


def _disagreements(catalogue: Catalogue) -> Html:
    note = "The map keeps what each source says, and which of them holds."
    found = [_disagreement(catalogue, each) for each in catalogue.disagreements.values()]
    return section("Where the sources disagree", *found, note=note)


def _disagreement(catalogue: Catalogue, of: Disagreement) -> Html:
    said = (
        el(
            "li",
            el("b", catalogue.sources[each.source].name),
            each.date and f" ({each.date})",
            f": {each.says}",
        )
        for each in of.statements
    )
    now = el("p", el("b", f"Now ({of.date}): "), of.now)
    return el("details", el("summary", of.question), el("ul", said), now, class_="quarrel")
