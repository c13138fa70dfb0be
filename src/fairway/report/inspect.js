"use strict";

/* Finds tensors as one types, and moves between the cards by keyboard. Everything is in the page already. */

const cards = [...document.querySelectorAll(".card")];
const rows = [...document.querySelectorAll(".tensors tbody tr")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
const search = document.querySelector("#search");
const count = document.querySelector("#count");
const opened = new Map();

function find() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = new Set();
  for (const { row, text } of rows) {
    const hit = words.every((word) => text.includes(word));
    row.hidden = !hit;
    if (hit) hits.add(row.id);
  }
  for (const card of cards) {
    const found = card.querySelector(".tensors tbody tr:not([hidden])") !== null;
    card.parentElement.hidden = words.length > 0 && !found;
    if (words.length) {
      if (!opened.has(card)) opened.set(card, card.open);
      card.open = found;
    } else if (opened.has(card)) {
      card.open = opened.get(card);
    }
    for (const node of card.querySelectorAll(".node")) {
      node.classList.toggle("dim", words.length > 0 && !(node.hash && hits.has(node.hash.slice(1))));
    }
  }
  if (!words.length) opened.clear();
  const all = rows.length.toLocaleString("en");
  count.textContent = words.length ? `${hits.size.toLocaleString("en")} of ${all} tensors` : `${all} tensors`;
}

function move(step) {
  const heads = cards.filter((card) => !card.parentElement.hidden).map((card) => card.firstElementChild);
  const here = heads.findIndex((head) => head.parentElement.contains(document.activeElement));
  const next = heads[Math.max(0, Math.min(heads.length - 1, here + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function openAll(open) {
  for (const card of cards) card.open = open;
}

search.addEventListener("input", find);
document.querySelector("#open").addEventListener("click", () => openAll(true));
document.querySelector("#close").addEventListener("click", () => openAll(false));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === search) {
    if (event.key === "Escape") {
      search.value = "";
      find();
      search.blur();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      search.blur();
      move(1);
    }
    return;
  }
  const keys = { j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1), "/": () => search.focus() };
  const isArrow = event.key.startsWith("Arrow");
  if (!(event.key in keys) || (isArrow && document.activeElement?.tagName !== "SUMMARY")) return;
  event.preventDefault();
  keys[event.key]();
});
