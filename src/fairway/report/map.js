"use strict";

/* Draws lanes and wires over the board, lights up what belongs together, filters. All facts stand in the page. */

const SVG = "http://www.w3.org/2000/svg";
const board = document.querySelector("#board");
const wires = document.querySelector("#wires");
const search = document.querySelector("#search");
const role = document.querySelector("#role");
const ignore = document.querySelector("#ignore");
const leaves = document.querySelector("#leaves");
const count = document.querySelector("#count");
const detail = document.querySelector("#detail");
const about = document.querySelector("#about");
const tools = [...board.querySelectorAll(".tool")];
const ports = new Map([...board.querySelectorAll(".port")].map((port) => [port.dataset.id, port]));
const hubs = [...board.querySelectorAll(".port.hub")].map((port) => port.dataset.id);
const buttons = [...board.querySelectorAll(".tool, .port")];
const states = [...document.querySelectorAll(".states button")];
const lanes = [...document.querySelectorAll("#lanes [data-from]")].map((each) => each.dataset);
const listed = (text) => (text ?? "").split(" ").filter(Boolean);
let chosen = null;

/* --- drawing */

function box(element) {
  const outer = board.getBoundingClientRect();
  const inner = element.getBoundingClientRect();
  const [x, y] = [inner.left - outer.left, inner.top - outer.top];
  return { left: x, right: x + inner.width, middle: y + inner.height / 2, centre: x + inner.width / 2, top: y, bottom: y + inner.height };
}

function curve(from, to) {
  const [a, b] = [box(from), box(to)];
  if (b.left > a.right) return bend(a.right, a.middle, b.left, b.middle);
  if (a.left > b.right) return bend(a.left, a.middle, b.right, b.middle);
  const reach = 26 + Math.abs(a.middle - b.middle) / 7;
  if (Math.abs(a.centre - b.centre) < 40) {
    return `M${a.right},${a.middle} C${a.right + reach},${a.middle} ${b.right + reach},${b.middle} ${b.right},${b.middle}`;
  }
  const [y, z] = a.middle < b.middle ? [a.bottom, b.top] : [a.top, b.bottom];
  const half = (y + z) / 2;
  return `M${a.centre},${y} C${a.centre},${half} ${b.centre},${half} ${b.centre},${z}`;
}

function bend(x, y, toX, toY) {
  const half = (x + toX) / 2;
  return `M${x},${y} C${half},${y} ${half},${toY} ${toX},${toY}`;
}

function line(from, to, kind) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", curve(from, to));
  path.setAttribute("class", kind);
  path.ends = [from, to];
  wires.append(path);
}

function draw() {
  wires.replaceChildren();
  for (const tool of tools) {
    const far = tool.closest(".run, .train, .tune") ? "" : " far";
    if (tool.parentElement.inert) continue;
    for (const name of listed(tool.dataset.reads)) line(ports.get(name), tool, `wire in${far}`);
    for (const name of listed(tool.dataset.writes)) line(tool, ports.get(name), `wire out${far}`);
  }
  for (const { from, to, by } of lanes) {
    if (from !== to) line(ports.get(from), ports.get(to), `lane hub${hubs.indexOf(from)}${by === "fairway" ? "" : " others"}`);
  }
  light(chosen);
}

/* --- what belongs together */

function related(button) {
  const found = new Set([button]);
  const { id } = button.dataset;
  if (button.classList.contains("tool")) {
    for (const name of [...listed(button.dataset.reads), ...listed(button.dataset.writes)]) found.add(ports.get(name));
    return found;
  }
  for (const tool of tools) {
    if ([...listed(tool.dataset.reads), ...listed(tool.dataset.writes)].includes(id)) found.add(tool);
  }
  for (const { from, to } of lanes) {
    if (from === id) found.add(ports.get(to));
    if (to === id) found.add(ports.get(from));
  }
  return found;
}

function light(button) {
  board.classList.toggle("looking", button !== null);
  const found = button ? related(button) : new Set();
  for (const each of buttons) each.classList.toggle("lit", found.has(each));
  for (const path of wires.children) path.classList.toggle("lit", path.ends.includes(button));
}

function choose(button) {
  for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
  chosen = button;
  light(button);
  detail.hidden = button === null;
  if (!button) return;
  detail.classList.toggle("left", box(button).centre > board.clientWidth * 0.55);
  about.replaceChildren(...[...button.nextElementSibling.cloneNode(true).childNodes]);
}

/* --- filters */

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = states.filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => each.dataset.state);
  const ignoring = ignore.getAttribute("aria-pressed") === "true";
  let shown = 0;
  for (const button of buttons) {
    const { roles, state, words: known } = button.dataset;
    const text = `${button.textContent.toLowerCase()} ${known}`;
    const isTool = button.classList.contains("tool");
    const isTheirs = !role.value || !isTool || listed(roles).includes(role.value) !== ignoring;
    const fits = words.every((word) => text.includes(word)) && isTheirs && (!wanted.length || wanted.includes(state));
    button.parentElement.inert = !fits;
    if (fits && isTool) shown += 1;
  }
  count.textContent = shown === tools.length ? `${shown} tools` : `${shown} of ${tools.length} tools`;
  ignore.disabled = !role.value;
  leaves.hidden = !(role.value && ignoring);
  leaves.textContent = leaves.hidden ? "" : role.selectedOptions[0].dataset.leaves;
  rove();
  draw();
}

function toggle(button) {
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  filter();
}

/* --- keys: Tab from stage to stage, arrows to the nearest neighbour */

function reachable() {
  return buttons.filter((each) => !each.parentElement.inert);
}

function rove(focused = null) {
  const first = new Map();
  for (const each of reachable()) {
    const stage = each.closest(".stage");
    if (!first.has(stage) || each === focused) first.set(stage, each);
  }
  for (const each of buttons) each.tabIndex = first.get(each.closest(".stage")) === each ? 0 : -1;
}

function move(from, right, down) {
  const here = box(from);
  let best = null;
  let nearest = Infinity;
  for (const each of reachable()) {
    const there = box(each);
    const [dx, dy] = [there.centre - here.centre, there.middle - here.middle];
    const along = dx * right + dy * down;
    const across = Math.abs(right ? dy : dx);
    if (each === from || along < 6) continue;
    const distance = along + across * (right ? 2 : 3);
    if (distance < nearest) [best, nearest] = [each, distance];
  }
  best?.focus();
}

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    const back = chosen;
    if (document.activeElement === search && search.value) {
      search.value = "";
      filter();
    }
    choose(null);
    if (detail.contains(document.activeElement)) back?.focus();
    return;
  }
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  }
  if (event.key in ARROWS && buttons.includes(document.activeElement)) {
    event.preventDefault();
    move(document.activeElement, ...ARROWS[event.key]);
  }
});

for (const button of buttons) {
  button.addEventListener("click", () => choose(chosen === button ? null : button));
  button.addEventListener("pointerenter", () => chosen ?? light(button));
  button.addEventListener("pointerleave", () => light(chosen));
  button.addEventListener("focus", () => {
    rove(button);
    if (!chosen) light(button);
  });
  button.addEventListener("blur", () => light(chosen));
}
document.querySelector("#close").addEventListener("click", () => {
  const back = chosen;
  choose(null);
  back?.focus();
});
search.addEventListener("input", filter);
role.addEventListener("change", () => {
  if (!role.value) ignore.setAttribute("aria-pressed", "false");
  filter();
});
ignore.addEventListener("click", () => toggle(ignore));
for (const each of states) each.addEventListener("click", () => toggle(each));
new ResizeObserver(draw).observe(board);
filter();
