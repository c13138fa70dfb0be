// The API page: /openapi.json as something to read, with a command to copy for each operation.
// Draws what the document says and knows nothing about any operation.

import { $, ServerError, ask, codeBlock, element, prepareTheme } from "/page.js";

const FORM = "multipart/form-data";

let schemas = {};

async function start() {
  prepareTheme();
  try {
    draw(await (await ask("/openapi.json")).json());
  } catch (error) {
    $("lead").textContent = error instanceof ServerError ? error.message : "The server cannot be reached.";
  }
}

function draw(document_) {
  schemas = document_.components.schemas;
  $("title").textContent = `${document_.info.title} API`;
  $("lead").textContent = `${document_.info.description} Version ${document_.info.version}. Base address: ${location.origin}`;
  const groups = new Map();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const [verb, operation] of Object.entries(item)) {
      const [tag] = operation.tags;
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, verb: verb.toUpperCase(), ...operation });
    }
  }
  for (const [tag, operations] of groups) drawGroup(tag, operations);
}

function drawGroup(tag, operations) {
  const links = operations.map(({ operationId, path }) => {
    const link = element("a", "", path);
    link.href = `#${operationId}`;
    return link;
  });
  $("contents").append(element("h2", "", tag), ...links);
  $("reference").append(...operations.map(drawOperation));
}

function drawOperation(operation) {
  const { verb, path, summary, operationId, responses } = operation;
  const head = element("header", "", element("span", "verb", verb), element("code", "", path), element("p", "", `${summary}.`));
  const body = element("div", "body");
  const [[kind, { schema } = {}] = []] = Object.entries(operation.requestBody?.content ?? {});
  const request = schema && resolve(schema);
  const query = (operation.parameters ?? []).filter((each) => each.in === "query");
  if (request) body.append(...section(kind === FORM ? "Form" : "Request", fields(request)));
  if (query.length) body.append(...section("Query", fields(ofParameters(query))));
  body.append(...section("Example", command(operation, kind, request)));
  for (const [kind, { schema }] of Object.entries(responses["200"].content)) {
    const answer = resolve(schema);
    if (answer.properties) body.append(folded(kind.includes("event") ? "Each event of a stream" : "Answer", fields(answer)));
  }
  body.append(statuses(responses));
  const section_ = element("section", "operation", head, body);
  section_.id = operationId;
  section_.setAttribute("aria-label", `${verb} ${path}`);
  return section_;
}

function ofParameters(parameters) {
  const properties = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]));
  return { properties, required: parameters.filter((each) => each.required).map((each) => each.name) };
}

function section(title, content) {
  return [element("h3", "", title), content];
}

function folded(title, content) {
  return element("details", "", element("summary", "", title), content);
}

function statuses(responses) {
  const items = Object.entries(responses).map(([status, { description }]) => element("li", "", `${status} ${description}`));
  const list = element("ul", "statuses", ...items);
  list.setAttribute("aria-label", "Statuses");
  return list;
}

function resolve(schema) {
  return schema.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema;
}

function fields({ properties, required = [] }) {
  const rows = Object.entries(properties).sort(([a], [b]) => required.includes(b) - required.includes(a));
  const table = element("table", "fields");
  for (const [name, schema] of rows) {
    const title = element("td", "", element("code", "", name));
    if (required.includes(name)) title.append(element("span", "needed", "required"));
    const about = element("td", "", element("div", "type", typeOf(schema)));
    const description = schema.description ?? "";
    if (description) about.append(element("div", "", description));
    const inner = innerObject(schema);
    if (inner) about.append(folded(`Fields of ${name}`, fields(inner)));
    table.append(element("tr", "", title, about));
  }
  return table;
}

function innerObject(schema, depth = 0) {
  const found = resolve(schema);
  if (found.properties) return found;
  const next = [found.items, ...(found.anyOf ?? []), ...(found.oneOf ?? [])].filter(Boolean);
  for (const each of depth < 3 ? next : []) {
    const inner = innerObject(each, depth + 1);
    if (inner) return inner;
  }
  return null;
}

function typeOf(schema, depth = 0) {
  const found = resolve(schema);
  const choices = found.anyOf ?? found.oneOf;
  if (choices && depth < 4) return [...new Set(choices.map((each) => typeOf(each, depth + 1)))].filter((each) => each !== "null").join(" or ");
  if (found.enum) return found.enum.map((each) => JSON.stringify(each)).join(", ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.type === "array") return `list of ${plural(found.items ? typeOf(found.items, depth + 1) : "anything")}`;
  return [found.type ?? "anything", bounds(found)].filter(Boolean).join(", ");
}

function plural(type) {
  return type.replace(/^(string|object|integer|number)\b/, "$1s");
}

function bounds({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }) {
  const shown = (value) => (Math.abs(value) < 1e6 ? value : null);
  const low = shown(minimum) ?? (shown(exclusiveMinimum) === null || exclusiveMinimum === undefined ? null : `above ${exclusiveMinimum}`);
  const high = shown(maximum) ?? (shown(exclusiveMaximum) === null || exclusiveMaximum === undefined ? null : `below ${exclusiveMaximum}`);
  if (low != null && high != null) return `${low} to ${high}`;
  if (low != null) return typeof low === "string" ? low : `at least ${low}`;
  return high != null ? `at most ${high}` : "";
}

// The command is made from the schema's required fields, with something sensible in each.

const SAMPLES = {
  training_file: "FILE_ID",
  model: "MODEL",
  lora_name: "ADAPTER",
  lora_path: "PATH",
  messages: [{ role: "user", content: "Tell me a story." }],
  prompt: "Once upon a time",
  tokens: [1, 2, 3],
};
const FORM_SAMPLES = { purpose: "fine-tune", file: "@examples.jsonl" };

function command({ verb, path, security }, kind, request) {
  const lines = [`curl ${location.origin}${path.replace(/\{(\w+)\}/g, (_, name) => name.toUpperCase())}`];
  if (verb === "DELETE" || (verb === "POST" && !request)) lines.push(`-X ${verb}`);
  if (security) lines.push('-H "Authorization: Bearer $FAIRWAY_KEY"');
  if (kind === FORM) lines.push(...(request.required ?? []).map((name) => `-F ${name}="${FORM_SAMPLES[name]}"`));
  else if (request) lines.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(sampleOf(request))}'`);
  const text = lines.join(" \\\n  ");
  return codeBlock(text, "Terminal");
}

function sampleOf({ properties, required = [] }) {
  const names = Object.keys(SAMPLES).filter((name) => name in properties);
  const wanted = names.filter((name) => required.includes(name));
  return Object.fromEntries((wanted.length ? wanted : names.slice(-1)).map((name) => [name, SAMPLES[name]]));
}

start();
