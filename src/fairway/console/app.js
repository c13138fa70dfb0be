// The chat page: one state object, small functions, no library. An answer is a stream of
// server-sent events, and leaving the stream stops the answer on the server.

import { $, ServerError, ask, codeBlock, copy, element, icon, keep, prepareTheme, read, set, settings } from "/page.js";

const TALK = "fairway.conversation";

const state = {
  messages: read(sessionStorage, TALK, []),
  models: [],
  running: null,
};

// Asking and answering

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new ServerError("The connection was lost before the answer was complete.");
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      if (!frame.startsWith("data: ")) continue;
      if (frame === "data: [DONE]") return;
      yield JSON.parse(frame.slice(6));
    }
  }
}

function requestBody() {
  const { system, temperature, top_p, max_tokens, seed } = settings;
  const earlier = state.messages.map(({ role, content }) => ({ role, content }));
  const messages = system ? [{ role: "system", content: system }, ...earlier] : earlier;
  const options = { temperature, top_p, max_tokens, seed };
  return { model: $("model").value, messages, ...options, stream: true, stream_options: { include_usage: true } };
}

async function send(text) {
  while (state.messages.at(-1)?.role === "user") state.messages.pop(); // it never got an answer
  state.messages.push({ role: "user", content: text });
  show(state.messages.at(-1));
  await answer();
}

async function answer() {
  const body = requestBody();
  const talk = state.messages;
  const message = { role: "assistant", content: "" };
  const view = show(message);
  state.running = new AbortController();
  begin(view);
  try {
    await receive(await ask("/v1/chat/completions", body, state.running.signal), message, view);
  } catch (error) {
    if (error.name === "AbortError") message.stopped = true;
    else message.failure = error instanceof ServerError ? error.message : "The server cannot be reached.";
  }
  state.running = null;
  if (message.content) talk.push(message);
  if (talk === state.messages) keep(sessionStorage, TALK, talk);
  end(view, message);
}

async function receive(stream, message, view) {
  const clock = { sent: view.sent, first: 0, last: 0, tokens: 0 };
  for await (const event of events(stream)) {
    if (event.error) throw new ServerError(event.error.message);
    const piece = event.choices[0]?.delta.content;
    if (piece) {
      clock.last = performance.now();
      clock.first ||= clock.last;
      clock.tokens += 1;
      message.content += piece;
      message.stats = stats(clock);
      view.changed(message);
    }
    if (event.choices[0]?.finish_reason === "length") message.cut = true;
    if (event.usage) message.stats = stats(clock, event.usage);
  }
}

function stats(clock, usage) {
  const tokens = usage ? usage.completion_tokens : clock.tokens;
  const seconds = (clock.last - clock.first) / 1000;
  return {
    tokens,
    rate: seconds > 0 && tokens > 1 ? (tokens - 1) / seconds : null,
    first: clock.first ? (clock.first - clock.sent) / 1000 : null,
    cached: usage?.prompt_tokens_details.cached_tokens ?? 0,
  };
}

function begin(view) {
  view.sent = performance.now();
  view.item.setAttribute("aria-busy", "true");
  $("send").hidden = true;
  $("stop").hidden = false;
  $("new-chat").disabled = false;
  $("status").textContent = "The model is answering.";
}

function end(view, message) {
  view.item.removeAttribute("aria-busy");
  view.changed(message, true);
  $("send").hidden = false;
  $("stop").hidden = true;
  const outcome = message.failure ?? (message.stopped ? "Stopped." : "The answer is complete.");
  $("status").textContent = outcome;
  if (document.activeElement === document.body || document.activeElement === $("stop")) $("prompt").focus();
}

function stop() {
  state.running?.abort();
}

// Showing messages

const COPY = "M9 9V5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-4M5 9h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1z";
const AGAIN = "M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7";

function action(label, className, path, act) {
  const button = element("button", `act ${className}`, icon(path), element("span", "", label));
  button.type = "button";
  button.addEventListener("click", () => act(button));
  return button;
}

function show(message) {
  const text = element("div", "text");
  const item = element("li", `message ${message.role}`, element("span", "hidden", message.role === "user" ? "You:" : "Model:"), text);
  $("welcome").hidden = true;
  $("messages").append(item);
  if (message.role === "user") {
    text.textContent = message.content;
    follow(true);
    return { item };
  }
  return shownAnswer(item, text, message);
}

function shownAnswer(item, text, message) {
  const meta = element("div", "meta");
  item.append(meta);
  let drawing = 0;
  const draw = (latest, isComplete) => {
    drawing = 0;
    render(text, latest.content.trimStart());  // many models begin with a space
    meta.replaceChildren(...metaOf(latest, isComplete));
    if (latest.failure) meta.before(element("p", "failure", latest.failure));
    follow();
  };
  const changed = (latest, isComplete = false) => {
    if (drawing) cancelAnimationFrame(drawing);
    if (isComplete) draw(latest, true);
    else drawing = requestAnimationFrame(() => draw(latest, false));
  };
  follow(true);
  return { item, changed, sent: 0 };
}

function metaOf(message, isComplete) {
  const parts = [];
  if (isComplete && message.content) parts.push(action("Copy", "copy", COPY, (button) => copy(message.content.trim(), button)));
  if (isComplete) parts.push(action("Try again", "again", AGAIN, tryAgain));
  const { rate, first, tokens, cached } = message.stats ?? {};
  if (rate) parts.push(element("span", "rate", `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`));
  if (first) parts.push(element("span", "first", `first after ${first.toFixed(2)} s`));
  if (tokens && isComplete) parts.push(element("span", "count", tokens === 1 ? "1 token" : `${tokens} tokens`));
  if (cached) parts.push(element("span", "cached", `${cached} from cache`));
  if (message.stopped) parts.push(element("span", "", "stopped"));
  if (message.cut) parts.push(element("span", "", "cut at the limit"));
  return parts;
}

function tryAgain() {
  if (state.running || !state.messages.some((each) => each.role === "user")) return;
  while (state.messages.at(-1).role === "assistant") state.messages.pop();
  while ($("messages").lastElementChild?.classList.contains("assistant")) $("messages").lastElementChild.remove();
  answer();
}

// Text to elements: code blocks, headings, lists and paragraphs. What did not change stays.

function render(target, source) {
  const wanted = blocks(source);
  const had = target.shownBlocks ?? [];
  wanted.forEach((block, at) => {
    if (had[at]?.source === block.source && had[at].kind === block.kind) {
      block.node = had[at].node;
      return;
    }
    block.node = blockElement(block);
    if (had[at]) had[at].node.replaceWith(block.node);
    else target.append(block.node);
  });
  had.slice(wanted.length).forEach((block) => block.node.remove());
  target.shownBlocks = wanted;
}

function blocks(source) {
  const found = [];
  const fence = /^```([^\n`]*)\n([\s\S]*?)(?:\n```[ \t]*(?=\n|$)|$(?![\s\S]))/gm;
  let from = 0;
  for (const match of source.matchAll(fence)) {
    found.push(...paragraphs(source.slice(from, match.index)));
    found.push({ kind: "code", language: match[1].trim(), source: match[2] });
    from = match.index + match[0].length;
  }
  return [...found, ...paragraphs(source.slice(from))];
}

function paragraphs(source) {
  return source.split(/\n{2,}/).map((text) => text.replace(/^\n+|\s+$/g, "")).filter(Boolean).map((text) => ({ kind: kindOf(text), source: text }));
}

function kindOf(text) {
  const lines = text.split("\n");
  if (lines.length === 1 && /^#{1,6} /.test(text)) return "heading";
  if (lines.every((line) => /^\s*[-*] /.test(line))) return "bullets";
  if (lines.every((line) => /^\s*\d+[.)] /.test(line))) return "numbers";
  return "paragraph";
}

function blockElement({ kind, source, language }) {
  if (kind === "code") return codeBlock(source, language);
  if (kind === "heading") return element("h3", "", ...inline(source.replace(/^#+ /, "")));
  if (kind === "paragraph") return element("p", "", ...inline(source));
  const items = source.split("\n").map((line) => element("li", "", ...inline(line.replace(/^\s*([-*]|\d+[.)]) /, ""))));
  const list = element(kind === "bullets" ? "ul" : "ol", "", ...items);
  if (kind === "numbers") list.start = parseInt(source, 10);
  return list;
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part) => {
    if (/^`.+`$/.test(part)) return element("code", "", part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return element("strong", "", part.slice(2, -2));
    return part;
  });
}

// Scrolling: follow the answer unless the reader has scrolled away from its end.

let isFollowing = true;

function follow(always = false) {
  const page = $("scroll");
  if (always) isFollowing = true;
  if (isFollowing) page.scrollTop = page.scrollHeight;
  $("latest").hidden = isFollowing;
}

function watchScrolling() {
  const page = $("scroll");
  page.addEventListener("scroll", () => {
    isFollowing = page.scrollHeight - page.scrollTop - page.clientHeight < 40;
    $("latest").hidden = isFollowing;
  });
  $("latest").addEventListener("click", () => follow(true));
  new ResizeObserver(() => follow()).observe(page);
}

// Controls

function prepareForm() {
  const prompt = $("prompt");
  const fit = () => {
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
    $("send").disabled = !prompt.value.trim();
  };
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = prompt.value.trim();
    if (!text || state.running || $("model").disabled) return;
    prompt.value = "";
    fit();
    send(text);
  });
  prompt.addEventListener("input", fit);
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("form").requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
  $("stop").addEventListener("click", stop);
  for (const button of $("ideas").querySelectorAll("button")) {
    button.addEventListener("click", () => {
      prompt.value = button.textContent;
      fit();
      $("form").requestSubmit();
    });
  }
}

function clear() {
  stop();
  state.messages = [];
  keep(sessionStorage, TALK, []);
  $("messages").replaceChildren();
  $("welcome").hidden = false;
  $("new-chat").disabled = true;
  $("latest").hidden = true;
  $("status").textContent = "The conversation is cleared.";
  $("prompt").focus();
}

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

function prepareSettings() {
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("settings").addEventListener("click", (event) => {
    if (event.target === $("settings")) $("settings").close();
  });
  $("system").addEventListener("input", () => set("system", $("system").value));
  for (const name of NUMBERS) {
    $(name).addEventListener("input", () => {
      if ($(name).validity.badInput) return;
      set(name, $(name).value === "" ? null : Number($(name).value));
      showSettings(name);
    });
  }
  $("reset").addEventListener("click", () => {
    for (const name of [...NUMBERS, "system"]) set(name, null);
    showSettings();
  });
  showSettings();
}

function showSettings(typing = null) {
  $("system").value = settings.system ?? "";
  for (const name of NUMBERS) {
    const value = settings[name];
    const isRange = $(name).type === "range";
    if (name !== typing) $(name).value = value ?? (isRange ? "1" : "");
    if (!isRange) continue;
    $(name).classList.toggle("unset", value === undefined);
    document.querySelector(`output[for=${name}]`).textContent = value?.toFixed(2) ?? "as the model prefers";
  }
}

async function loadModels() {
  const { data } = await (await ask("/v1/models")).json();
  state.models = data;
  $("model").replaceChildren(...data.map(({ id }) => new Option(id, id)));
  if (data.some(({ id }) => id === settings.model)) $("model").value = settings.model;
  $("model").disabled = data.length === 0;
  describeModel();
}

function describeModel() {
  const model = state.models.find(({ id }) => id === $("model").value);
  if (!model) {
    $("about").textContent = "No model is loaded.";
    return;
  }
  const size = `${short(model.num_parameters)} parameters`;
  const context = `${model.max_model_len.toLocaleString("en")} tokens of context`;
  $("about").textContent = [size, model.weight_type, context].join(" · ");
}

function short(count) {
  const [size, unit] = [[1e9, "B"], [1e6, "M"], [1e3, "k"], [1, ""]].find(([each]) => count >= each) ?? [1, ""];
  const value = count / size;
  return `${value.toFixed(value < 10 && unit ? 1 : 0)} ${unit}`.trim();
}

async function start() {
  prepareTheme();
  prepareForm();
  prepareSettings();
  watchScrolling();
  $("new-chat").addEventListener("click", clear);
  $("new-chat").disabled = state.messages.length === 0;
  $("model").addEventListener("change", () => {
    set("model", $("model").value);
    describeModel();
  });
  for (const message of state.messages) show(message).changed?.(message, true);
  try {
    await loadModels();
  } catch (error) {
    $("about").textContent = error instanceof ServerError ? error.message : "The server cannot be reached.";
  }
}

start();
