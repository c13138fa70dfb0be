// What the chat page and the API page share: elements, storage, the theme, and asking the server.
// Text enters the page as text, never as HTML. A server that wants a key gets to ask for it.

export const $ = (id) => document.getElementById(id);
const STORED = "fairway.settings";
const KEY = "fairway.key";

// Storage

export function read(storage, name, otherwise) {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(storage, name, value) {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // A private window or a full disk: the page works, it only forgets.
  }
}

export const settings = read(localStorage, STORED, {});

export function set(name, value) {
  if (value === "" || value === null) delete settings[name];
  else settings[name] = value;
  keep(localStorage, STORED, settings);
}

// The server

export class ServerError extends Error {}

export async function ask(path, body, signal) {
  const headers = {};
  const key = read(sessionStorage, KEY, "");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) };
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    await askForKey(Boolean(key));
    return ask(path, body, signal);
  }
  if (!answer.ok) throw new ServerError(await sentenceOf(answer));
  return answer;
}

async function sentenceOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answered with status ${answer.status}.`;
  }
}

let keyQuestion = null;

function askForKey(wasWrong) {
  $("key-error").textContent = wasWrong ? "That key is not known here." : "";
  if (!$("key-dialog").open) $("key-dialog").showModal();
  keyQuestion ??= new Promise((resolve, reject) => {
    $("key-dialog").onclose = () => {
      if (!keyQuestion) return;
      keyQuestion = null;
      reject(new ServerError("This server needs an API key."));
    };
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      keep(sessionStorage, KEY, $("key").value.trim());
      keyQuestion = null;
      $("key").value = "";
      $("key-dialog").close();
      resolve();
    };
  });
  return keyQuestion;
}

// Elements

export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}

export async function copy(text, button) {
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Not allowed";
  }
  setTimeout(() => (label.textContent = before), 1500);
}

export function codeBlock(source, language) {
  const button = element("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", () => copy(source, button));
  const pre = element("pre", "", element("code", "", source));
  pre.tabIndex = 0;
  return element("div", "block", element("header", "", element("span", "", language || "code"), button), pre);
}

// Light, dark, or as the system says

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

export function prepareTheme() {
  const names = Object.keys(THEMES);
  const apply = () => {
    const theme = settings.theme ?? "auto";
    document.documentElement.dataset.theme = theme;
    $("theme").setAttribute("aria-label", `Theme: ${THEMES[theme]}`);
    $("theme").title = `Theme: ${THEMES[theme]}`;
  };
  $("theme").addEventListener("click", () => {
    set("theme", names[(names.indexOf(settings.theme ?? "auto") + 1) % names.length]);
    apply();
  });
  apply();
}
