// The status page: polls /api/status while it is visible, and follows one log.
"use strict";

const POLL_MILLISECONDS = 1000;
const RETRY_MILLISECONDS = 3000;
const LOG_CHARACTERS = 200_000;

const byId = (id) => document.getElementById(id);
const rows = new Map();
let models = [];
let polling = null;
let following = null;

// -- requests ----------------------------------------------------------------

async function request(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options });
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message || message;
  } catch {
    // An answer without our envelope: the status line has to do.
  }
  throw new Error(message);
}

const modelPath = (action, id) => `/api/models/${action}/${id.split("/").map(encodeURIComponent).join("/")}`;

function show(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

// One problem at a time: what a button ran into stays until the next button.
let failedAction = "";
let failedPoll = "";
const showProblem = () => show("problem", [failedPoll, failedAction].filter(Boolean).join("\n"));

async function act(what, path, options = {}) {
  failedAction = "";
  showProblem();
  try {
    const answer = request(path, { method: "POST", ...options });
    poll();
    await answer;
  } catch (error) {
    failedAction = `${what}: ${error.message}`;
    showProblem();
  }
  poll();
}

// -- models ------------------------------------------------------------------

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const GIB = 1024 ** 3;
const size = (bytes) => (bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.round(bytes / 1024 ** 2)} MiB`);

function cell(row, classes = "", label = "") {
  const element = row.insertCell();
  element.className = classes;
  if (label) element.dataset.label = label;
  return element;
}

function part(parent, kind, classes) {
  const element = document.createElement(kind);
  element.className = classes;
  parent.append(element);
  return element;
}

function button(parent, click) {
  const element = part(parent, "button", "");
  element.type = "button";
  element.addEventListener("click", click);
  return element;
}

function makeRow(id) {
  const row = document.createElement("tr");
  const first = cell(row);
  const view = { row, id: part(first, "div", "id"), name: part(first, "div", "name") };
  view.why = part(first, "div", "why");
  view.failure = part(first, "div", "failure");
  view.state = part(cell(row), "span", "state");
  view.service = cell(row, "number", "In service");
  view.waiting = cell(row, "number", "Waiting");
  view.unload = cell(row, "", "Unloads in");
  view.memory = cell(row, "", "Memory");
  view.port = cell(row, "", "Port");
  view.pid = cell(row, "", "PID");
  const last = cell(row);
  view.pin = button(last, () => act(`${view.pinAction} ${id}`, modelPath(view.pinAction, id)));
  view.button = button(last, () => act(`${view.action} ${id}`, modelPath(view.action, id)));
  return view;
}

function set(element, text) {
  const value = text === null || text === undefined ? "" : String(text);
  if (element.textContent !== value) element.textContent = value;
}

function fillRow(view, model) {
  set(view.id, model.id);
  set(view.name, model.name === model.id ? "" : model.name);
  set(view.why, model.state === "stopped" ? "" : model.because);
  const nextTry = model.next_try_in_seconds ? `\nnext try in ${duration(model.next_try_in_seconds)} at the earliest` : "";
  set(view.failure, model.last_error ? model.last_error + nextTry : "");
  set(view.state, model.state);
  view.state.className = `state ${model.state}`;
  set(view.service, model.in_service || "");
  set(view.waiting, model.waiting || "");
  set(view.unload, model.state === "ready" ? duration(model.unload_in_seconds) : "");
  const claims = (model.memory || []).filter((claim) => claim.bytes);
  set(view.memory, claims.map((claim) => `${claim.label} ${size(claim.bytes)}`).join(", "));
  view.pinAction = model.pinned ? "unpin" : "pin";
  set(view.pin, model.pinned ? "Unpin" : "Pin");
  view.pin.setAttribute("aria-label", `${view.pin.textContent} ${model.id}`);
  set(view.port, model.port);
  set(view.pid, model.pid);
  view.action = ["starting", "ready", "draining"].includes(model.state) ? "unload" : "load";
  set(view.button, view.action === "load" ? "Load" : "Unload");
  view.button.setAttribute("aria-label", `${view.button.textContent} ${model.id}`);
  view.button.disabled = model.state === "stopping";
}

function fillModels() {
  const body = byId("rows");
  models.forEach((model, index) => {
    if (!rows.has(model.id)) rows.set(model.id, makeRow(model.id));
    const view = rows.get(model.id);
    if (body.rows[index] !== view.row) body.insertBefore(view.row, body.rows[index] || null);
    fillRow(view, model);
  });
  const ids = new Set(models.map((model) => model.id));
  for (const [id, view] of rows) {
    if (!ids.has(id)) {
      view.row.remove();
      rows.delete(id);
    }
  }
  byId("models").hidden = models.length === 0;
  byId("no-models").hidden = models.length > 0;
  byId("unload-all").hidden = !models.some((model) => model.state !== "stopped");
}

function fillSummary() {
  const count = (state) => models.filter((model) => model.state === state).length;
  const waiting = models.reduce((sum, model) => sum + (model.waiting || 0), 0);
  const words = [`${count("ready")} of ${models.length} ready`];
  for (const state of ["starting", "draining", "stopping"]) if (count(state)) words.push(`${count(state)} ${state}`);
  if (waiting) words.push(`${waiting} waiting`);
  set(byId("summary"), words.join(" · "));
}

// -- memory ------------------------------------------------------------------

function poolText(pool) {
  const parts = [`${size(pool.promised_bytes)} models`];
  if (pool.foreign_bytes !== null) parts.push(`${size(pool.foreign_bytes)} others`);
  parts.push(`${size(Math.max(0, pool.available_bytes))} available`);
  return `${parts.join(" · ")} of ${size(pool.total_bytes)}`;
}

function fillPool(item, pool) {
  const [name, meter, text] = item.children;
  set(name, pool.label);
  meter.max = pool.total_bytes;
  meter.value = pool.total_bytes - pool.free_bytes;
  meter.setAttribute("aria-label", `${pool.label} in use`);
  set(text, poolText(pool));
}

function fillMemory(status) {
  const { pools, problem } = status.memory;
  const list = byId("pools");
  while (list.children.length > pools.length) list.lastChild.remove();
  while (list.children.length < pools.length) {
    const item = part(list, "li", "pool");
    for (const kind of ["span", "meter", "span"]) part(item, kind, "");
  }
  pools.forEach((pool, index) => fillPool(list.children[index], pool));
  byId("memory").hidden = pools.length === 0;
  set(byId("router"), `${status.router === "fit" ? "memory decides" : `${status.router} decides`}${problem ? ` · ${problem}` : ""}`);
}

let yielded = false;

function fillYields(yields) {
  yielded = yields.length > 0;
  const told = yields.map((held) => {
    const devices = held.devices.map((device) => device.label).join(", ") || "all devices";
    const left = held.seconds_left === null ? "" : `, for ${duration(held.seconds_left)} more`;
    return `Yielded to ${held.holder}: ${devices}${left}${held.because ? `: ${held.because}` : ""}`;
  });
  show("yields", told.join("\n"));
  set(byId("yield"), yielded ? "Take devices back" : "Yield devices");
  byId("yield").hidden = false;
}

function toggleYield() {
  if (yielded) act("take devices back", "/api/yield", { method: "DELETE" });
  else act("yield", "/api/yield", { body: JSON.stringify({ holder: "status page" }) });
}

function fillMonitors() {
  const select = byId("monitor");
  const wanted = ["/proxy", "/upstream", ...models.map((model) => `/${model.id}`)];
  if (wanted.join("\n") === [...select.options].map((option) => option.value).join("\n")) return;
  const chosen = select.value;
  for (const option of [...select.options].slice(2)) option.remove();
  for (const model of models) select.add(new Option(model.id, `/${model.id}`));
  if (wanted.includes(chosen)) select.value = chosen;
  else follow();
}

async function poll() {
  clearTimeout(polling);
  if (document.hidden) return;
  try {
    const status = await (await request("/api/status")).json();
    models = status.models;
    failedPoll = "";
    fillModels();
    fillMemory(status);
    fillYields(status.yields);
    fillSummary();
    fillMonitors();
  } catch (error) {
    failedPoll = `The service does not answer: ${error.message}`;
    set(byId("summary"), "");
  }
  showProblem();
  clearTimeout(polling);
  polling = setTimeout(poll, failedPoll ? RETRY_MILLISECONDS : POLL_MILLISECONDS);
}

// -- log ---------------------------------------------------------------------

// Terminal colours mean nothing here.
const withoutColours = (text) => text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");

// A model that floods its log must not make the browser lay out the page for each chunk.
let unshown = "";
let frame = 0;

function append(text) {
  unshown += withoutColours(text);
  frame ||= requestAnimationFrame(showLog);
}

function showLog() {
  const log = byId("log");
  const whole = log.textContent + unshown;
  const cut = whole.length > LOG_CHARACTERS ? whole.indexOf("\n", whole.length - LOG_CHARACTERS) + 1 : 0;
  if (unshown) log.textContent = whole.slice(cut);
  unshown = "";
  frame = 0;
  if (byId("follow").checked) log.scrollTop = log.scrollHeight;
}

function logPath() {
  return `/logs/stream${byId("monitor").value.split("/").map(encodeURIComponent).join("/")}`;
}

async function follow() {
  if (following) following.abort();
  if (document.hidden) return;
  const mine = new AbortController();
  following = mine;
  try {
    const response = await request(logPath(), { signal: mine.signal });
    byId("log").textContent = unshown = "";
    show("log-state", "");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) append(step.value);
    throw new Error("the stream ended");
  } catch (error) {
    if (mine.signal.aborted) return;
    show("log-state", `not connected: ${error.message}`);
    setTimeout(() => following === mine && follow(), RETRY_MILLISECONDS);
  }
}

// -- start -------------------------------------------------------------------

byId("unload-all").addEventListener("click", () => act("unload all", "/api/models/unload"));
byId("yield").addEventListener("click", toggleYield);
byId("monitor").addEventListener("change", follow);
byId("follow").addEventListener("change", () => append(""));
byId("log").addEventListener("scroll", () => {
  const log = byId("log");
  byId("follow").checked = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});
document.addEventListener("visibilitychange", () => {
  poll();
  follow();
});
poll();
follow();
