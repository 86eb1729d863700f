// The test console: forms and lists over the REST API. What a server or a guest says is shown as text, never as markup.

const AGAIN_MS = 5000;
const ROWS = 100;
const LOG_ENTRIES = 200;
const OUTPUT_CHARS = 256 * 1024;
const KEY = "wrenn.api-key";
const STATUSES = ["pending", "running", "paused", "stopped", "error"];

const $ = (id) => document.getElementById(id);

// ---- The API -------------------------------------------------------------------------------------------------------

/** A refusal: the server's own words, or ours when it has none. */
class Refusal extends Error {
  constructor({ code, message, remedy, request_id: request }, status = 0) {
    super(String(message ?? "the server refused without a word"));
    this.code = code;
    this.remedy = remedy;
    this.request = request;
    this.status = status;
  }
}

/** Ends with the key: what is still under way for it may show nothing any more. */
let session = new AbortController();

/** One call. Answers with the body, or null when there is none, and the headers. */
async function call(method, path, body) {
  const request = { method, headers: { "X-API-Key": sessionStorage.getItem(KEY) ?? "" }, signal: session.signal };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response, text;
  try {
    response = await fetch(path, request);
    text = await response.text();
  } catch (error) {
    request.signal.throwIfAborted();
    throw new Refusal({ code: "unreachable", message: "the server does not answer", remedy: "see whether it still runs" });
  }
  request.signal.throwIfAborted();
  let answer = null;
  try {
    answer = text === "" ? null : JSON.parse(text);
  } catch {
    throw new Refusal({ message: "the answer is not JSON", remedy: "see what stands between this page and the server" }, response.status);
  }
  if (response.ok) return { answer, headers: response.headers };
  throw new Refusal(answer?.error ?? {}, response.status);
}

/** A list, and whether it goes on. */
async function list(path) {
  const { answer, headers } = await call("GET", path);
  if (Array.isArray(answer)) return { items: answer, more: headers.has("link") };
  throw new Refusal({ message: "the answer is no list", remedy: "see what stands between this page and the server" });
}

const sandboxPath = (id, action = "") => `/v1/sandboxes/${encodeURIComponent(id)}${action}`;

// ---- Words ---------------------------------------------------------------------------------------------------------

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });

function duration(ms) {
  if (!Number.isFinite(ms)) return "";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

function bytes(count) {
  if (!Number.isFinite(count)) return "";
  const mib = count / 2 ** 20;
  return mib < 1024 ? `${mib.toFixed(mib < 10 ? 1 : 0)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}

/** Today's times without their date. What is no time stays as it came. */
function moment(text) {
  // A Date makes a time of nearly anything that has a digit in it.
  const date = new Date(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) ? text : Number.NaN);
  if (Number.isNaN(date.getTime())) return String(text ?? "");
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : calendar.format(date);
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** What a refusal says: what happened, and what to do about it. */
function spoken(error) {
  const parts = [error.message, error.remedy].filter(Boolean).map((part) => sentence(capital(String(part))));
  return parts.join(" ");
}

/** The steps of what was done and their times, and how long a guest stood still for it. */
function timings(answer) {
  const steps = Array.isArray(answer?.timings) ? answer.timings.map((one) => `${one?.step} ${duration(one?.ms)}`) : [];
  if (answer?.frozen_ms > 0) steps.push(`stood still ${duration(answer.frozen_ms)}`);
  return steps.join(" · ");
}

/** Sets a text, and touches nothing when it stands already: a selection in it stays. */
function put(element, value) {
  const text = String(value ?? "");
  if (element.textContent !== text) element.textContent = text;
}

// ---- Activity ------------------------------------------------------------------------------------------------------

/** Outcomes: "done", "failed", "note". The word is shown, the colour only repeats it. */
function log(outcome, what, detail = "") {
  const entry = $("log-entry").content.cloneNode(true).firstElementChild;
  const now = new Date();
  entry.dataset.outcome = outcome;
  entry.querySelector("time").dateTime = now.toISOString();
  put(entry.querySelector("time"), clock.format(now));
  put(entry.querySelector(".outcome"), outcome);
  put(entry.querySelector(".what"), what);
  put(entry.querySelector(".detail"), detail);
  $("log").prepend(entry);
  while ($("log").childElementCount > LOG_ENTRIES) $("log").lastElementChild.remove();
  $("no-activity").hidden = true;
}

function logRefusal(what, error) {
  const about = [error.code, error.status || "", error.request].filter(Boolean).join(" · ");
  log("failed", `${what}: ${spoken(error)}`, about);
}

// ---- Calls that a button starts ------------------------------------------------------------------------------------

const underWay = new Set();

/** A button can be pressed when its action makes sense now and its last call has ended. */
function enable(button, sensible) {
  button.disabled = !sensible || underWay.has(button);
}

/**
 * Does what a button stands for. Until it has ended the button is disabled; `work` answers with what to say of its
 * outcome, and a refusal goes to the log and to `problem`.
 */
async function act(button, what, problem, work) {
  if (underWay.has(button)) return;
  const mine = session;
  const focused = document.activeElement;
  underWay.add(button);
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  put(problem, "");
  try {
    const { outcome = "done", text, detail } = await work();
    log(outcome, text, detail);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Refusal)) throw error;
    logRefusal(what, error);
    put(problem, spoken(error));
    if (error.status === 401) forget("This key is no longer accepted.");
  } finally {
    underWay.delete(button);
    button.removeAttribute("aria-busy");
    button.disabled = false;
    if (!mine.signal.aborted && button.closest("tr")) await refresh();
    keepFocus(focused);
  }
}

/** Gives the focus back to where it was, or close by, unless somebody has moved it since. */
function keepFocus(element) {
  if (document.activeElement !== document.body || !element?.isConnected) return;
  const usable = (one) => !one.disabled && !one.hidden;
  const place = element.closest("tr, form, main") ?? document;
  const next = usable(element) ? element : [...place.querySelectorAll("button")].find(usable);
  next?.focus({ preventScroll: true });
}

// ---- Sandboxes -----------------------------------------------------------------------------------------------------

const rows = new Map();
let turn = 0;
let listing = 0;
let stale = false;
let unreachable = false;

/** Asks for the sandboxes and shows them; of answers that overtake each other only the newest counts. */
async function refresh() {
  const mine = ++turn;
  listing += 1;
  try {
    const { items, more } = await list(`/v1/sandboxes?limit=${ROWS}`);
    if (mine !== turn) return;
    showSandboxes(items, more);
    if (unreachable) log("note", "The list of sandboxes is back.");
    unreachable = false;
    put($("list-problem"), "");
  } catch (error) {
    if (!(error instanceof Refusal) || mine !== turn) return;
    if (error.status === 401) return forget("This key is no longer accepted.");
    // Once, not at every try.
    if (!unreachable) logRefusal("Listing the sandboxes", error);
    unreachable = true;
    put($("list-problem"), spoken(error));
  } finally {
    listing -= 1;
    if (stale && listing === 0) look();
  }
}

/** Something has happened. However much, the list is asked for again when its last answer has come. */
function look() {
  stale = listing > 0;
  if (!stale) refresh();
}

/** Ends what is followed now; none while nothing is. */
let following = null;

/** Follows what happens. The list is asked for when that begins, since nobody knows what was before, and at each event. */
async function follow() {
  if (following) return;
  const mine = (following = new AbortController());
  const signal = AbortSignal.any([mine.signal, session.signal]);
  try {
    const headers = { "X-API-Key": sessionStorage.getItem(KEY) ?? "", Accept: "text/event-stream" };
    const response = await fetch("/v1/events", { headers, signal });
    // What it says against that, it says of the list too.
    if (response.ok) await read(response.body.pipeThrough(new TextDecoderStream()), look);
  } catch {
    // It is tried again.
  }
  if (following === mine) following = null;
  if (!signal.aborted) look();
}

/** Calls `told` for what comes, but not for the lines by which a stream says that it is there. */
async function read(stream, told) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (/^data:/m.test(value)) told();
  }
}

function unfollow() {
  following?.abort();
  following = null;
}

/** Rows stay the same elements from one refresh to the next, so that focus, selection and scroll stay where they are. */
function showSandboxes(sandboxes, more) {
  const focused = document.activeElement;
  const body = $("sandbox-rows");
  const listed = new Set(sandboxes.map((sandbox) => sandbox.id));
  for (const [id, row] of rows) {
    if (!listed.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  let place = body.firstElementChild;
  for (const sandbox of sandboxes) {
    const row = rows.get(sandbox.id) ?? newRow(sandbox.id);
    showSandbox(row, sandbox);
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  $("no-sandboxes").hidden = sandboxes.length > 0;
  body.closest("table").hidden = sandboxes.length === 0;
  put($("count"), sandboxes.length || "");
  put($("freshness"), `Updated ${clock.format(new Date())}.${more ? ` The newest ${ROWS} are shown.` : ""}`);
  if (focused?.disabled || focused?.hidden) keepFocus(focused);
}

function newRow(id) {
  const row = $("sandbox-row").content.cloneNode(true).firstElementChild;
  const [name, pause, resume, fork, destroy] = row.querySelectorAll("button");
  put(name, id);
  name.addEventListener("click", () => choose(id));
  pause.addEventListener("click", () => change(pause, id, "POST", "/pause", "Pausing", "Paused"));
  resume.addEventListener("click", () => change(resume, id, "POST", "/resume", "Resuming", "Resumed"));
  destroy.addEventListener("click", () => change(destroy, id, "DELETE", "", "Destroying", "Destroyed"));
  for (const button of [pause, resume, fork, destroy]) button.setAttribute("aria-label", `${button.textContent} ${id}`);
  askCount(row, fork, (count) => forkInto(fork, id, count));
  rows.set(id, row);
  mark(row, id);
  return row;
}

function showSandbox(row, sandbox) {
  const part = (name) => row.querySelector(`.${name}`);
  const { status, transition } = sandbox;
  row.dataset.status = STATUSES.includes(status) ? status : "unknown";
  part("id").title = sandbox.parent_id ? `Fork of ${sandbox.parent_id}` : "";
  put(part("badge"), status);
  put(part("transition"), transition);
  put(part("reason"), sandbox.status_reason);
  put(part("template"), sandbox.template);
  put(part("vcpus"), sandbox.vcpus);
  put(part("memory"), `${sandbox.memory_mb} MiB`);
  put(part("host-ip"), sandbox.host_ip ?? "–");
  put(part("created"), moment(sandbox.created_at));
  part("created").dateTime = String(sandbox.created_at);
  part("created").title = String(sandbox.created_at);

  part("pause").hidden = status !== "running";
  // An error that has no pause has nothing to go back to.
  part("resume").hidden = status !== "paused" && !(status === "error" && sandbox.paused_at);
  part("fork").hidden = status !== "running" && status !== "paused";
  part("destroy").hidden = status === "stopped";
  enable(part("pause"), !transition);
  enable(part("resume"), !transition);
  enable(part("fork"), !transition);
  enable(part("destroy"), transition !== "stopping");
}

/** Fills the forms with a sandbox's id. */
function choose(id) {
  $("exec-id").value = id;
  $("snapshot-id").value = id;
  markAll();
}

function mark(row, id) {
  const chosen = $("exec-id").value === id;
  row.classList.toggle("chosen", chosen);
  row.querySelector(".id").setAttribute("aria-current", chosen);
}

function markAll() {
  for (const [id, row] of rows) mark(row, id);
}

/** Takes a sandbox from one state to another. */
function change(button, id, method, action, doing, did) {
  act(button, `${doing} ${id}`, $("change-problem"), async () => {
    const began = performance.now();
    // The row says what is under way before this call's answer comes.
    const called = call(method, sandboxPath(id, action));
    refresh();
    const { answer } = await called;
    const text = `${did} ${id} in ${duration(performance.now() - began)}.`;
    if (!answer?.lost_since) return { text, detail: timings(answer) };
    const lost = `It went back to its last pause; what it did since ${moment(answer.lost_since)} is lost.`;
    return { outcome: "note", text: `${text} ${lost}`, detail: timings(answer) };
  });
}

/** A button that asks how many, in its place. Whoever leaves the question, or presses Escape, wants none. */
function askCount(row, button, work) {
  const form = row.querySelector(".children");
  const count = form.querySelector("input");
  const ask = (now) => {
    form.hidden = !now;
    row.classList.toggle("asks-children", now);
  };
  button.addEventListener("click", () => {
    ask(true);
    count.focus({ preventScroll: true });
    count.select();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(false);
    button.focus({ preventScroll: true });
    work(count.valueAsNumber);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    ask(false);
    button.focus({ preventScroll: true });
  });
  form.addEventListener("focusout", (event) => form.contains(event.relatedTarget) || ask(false));
}

/** Makes children of a sandbox, each of which comes to be or not by itself. */
function forkInto(button, id, count) {
  act(button, `Forking ${id}`, $("change-problem"), async () => {
    const began = performance.now();
    const called = call("POST", sandboxPath(id, "/fork"), { count });
    refresh();
    const { answer } = await called;
    refresh();
    const results = Array.isArray(answer?.results) ? answer.results : [];
    const failed = results.filter((result) => !result?.sandbox);
    const made = results.length - failed.length;
    const text = `Forked ${id} into ${made} ${made === 1 ? "sandbox" : "sandboxes"} in ${duration(performance.now() - began)}.`;
    if (failed.length === 0) return { text, detail: timings(answer) };
    const why = spoken(new Refusal(failed[0]?.error ?? {}));
    return { outcome: "note", text: `${text} ${failed.length} more did not come to be: ${why}`, detail: timings(answer) };
  });
}

// ---- Templates -----------------------------------------------------------------------------------------------------

async function refreshTemplates() {
  const { items } = await list("/v1/snapshots");
  $("template-rows").replaceChildren(...items.map(templateRow));
  $("no-templates").hidden = items.length > 0;
  $("template-rows").closest("table").hidden = items.length === 0;
  return items.length;
}

function templateRow(template) {
  const row = $("template-row").content.cloneNode(true).firstElementChild;
  const name = row.querySelector(".name");
  put(name, template.name);
  const shape = [template.vcpus && `${template.vcpus} vCPU`, template.memory_mb && `${template.memory_mb} MiB`];
  put(row.querySelector(".shape"), shape.filter(Boolean).join(" · "));
  put(row.querySelector(".type"), template.type);
  put(row.querySelector(".size"), bytes(template.size_bytes));
  name.addEventListener("click", () => {
    $("template").value = template.name;
    if (template.vcpus) $("vcpus").value = template.vcpus;
    if (template.memory_mb) $("memory").value = template.memory_mb;
  });
  const remove = row.querySelector(".delete");
  askBack(remove, `Delete ${template.name}`, "Really?", () => deleteTemplate(remove, template.name));
  return row;
}

/** A button that asks back: its second press counts, and whoever leaves it has said no. */
function askBack(button, label, question, work) {
  const word = button.textContent;
  let asked = false;
  const ask = (now) => {
    asked = now;
    put(button, asked ? question : word);
    button.setAttribute("aria-label", asked ? `${question} ${label}` : label);
  };
  ask(false);
  button.addEventListener("click", () => {
    ask(!asked);
    if (!asked) work();
  });
  button.addEventListener("blur", () => ask(false));
  button.addEventListener("keydown", (event) => event.key === "Escape" && ask(false));
}

/** Sandboxes made from it go on. */
function deleteTemplate(button, name) {
  const problem = $("templates").querySelector(".problem");
  act(button, `Deleting the template ${name}`, problem, async () => {
    await call("DELETE", `/v1/snapshots/${encodeURIComponent(name)}`);
    await refreshTemplates();
    // Its row is gone, and the focus with it.
    if (document.activeElement === document.body) $("refresh-templates").focus({ preventScroll: true });
    return { text: `Deleted the template ${name}.` };
  });
}

// ---- Forms ---------------------------------------------------------------------------------------------------------

/** `work` runs when the form is sent, which only happens when all its fields keep their rules. */
function onSend(form, what, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(form.querySelector("button"), what, form.querySelector(".problem"), work);
  });
}

async function create() {
  const asked = {
    template: $("template").value,
    vcpus: $("vcpus").valueAsNumber,
    memory_mb: $("memory").valueAsNumber,
    timeout_sec: $("timeout").valueAsNumber,
    on_timeout: $("on-timeout").value,
    auto_resume: $("auto-resume").checked,
  };
  const began = performance.now();
  const { answer } = await call("POST", "/v1/sandboxes", asked);
  if ($("exec-id").value === "") choose(answer.id);
  await refresh();
  return { text: `Created ${answer.id} in ${duration(performance.now() - began)}.`, detail: timings(answer) };
}

async function snapshot() {
  const id = $("snapshot-id").value.trim();
  const name = $("snapshot-name").value;
  const asked = { sandbox_id: id, ...(name === "" ? {} : { name }) };
  const began = performance.now();
  const called = call("POST", `/v1/snapshots${$("overwrite").checked ? "?overwrite=true" : ""}`, asked);
  refresh();
  const { answer } = await called;
  await Promise.all([refresh(), refreshTemplates()]);
  const text = `Took the snapshot ${answer.name} of ${id} in ${duration(performance.now() - began)}.`;
  const notice = answer.notice ? ` ${sentence(capital(String(answer.notice)))}` : "";
  return { text: `${text}${notice}`, detail: timings(answer) };
}

async function exec() {
  const id = $("exec-id").value.trim();
  const args = $("args").value;
  const asked = { cmd: $("cmd").value, args: args === "" ? [] : args.split(",") };
  $("result").hidden = true;
  put($("verdict"), "Running…");
  $("verdict").dataset.outcome = "note";
  let answer;
  try {
    ({ answer } = await call("POST", sandboxPath(id, "/exec"), asked));
  } catch (error) {
    put($("verdict"), "");
    throw error;
  }
  // It may have woken a sandbox that was paused.
  refresh();
  const took = duration(answer.duration_ms);
  const notes = [
    answer.timed_out ? "ended at its timeout" : "",
    answer.truncated ? `too long to send: the whole is in ${[answer.stdout_file, answer.stderr_file].filter(Boolean).join(" and ")} in the guest` : "",
    answer.encoding === "base64" ? "not all of it is UTF-8" : "",
  ].filter(Boolean);
  const good = answer.exit_code === 0;
  put($("verdict"), [`Exit code ${answer.exit_code}`, took, ...notes].join(" · "));
  $("verdict").dataset.outcome = good ? "done" : "failed";
  showStream($("stdout"), answer.stdout, answer.encoding);
  showStream($("stderr"), answer.stderr, answer.encoding);
  $("result").hidden = false;
  const text = `Ran ${[asked.cmd, ...asked.args].join(" ")} in ${id}: exit code ${answer.exit_code}.`;
  return { outcome: good ? "done" : "note", text, detail: took };
}

/** Shows the beginning of a stream, as much as a page can bear. */
function showStream(element, stream, encoding) {
  let text = String(stream ?? "");
  if (encoding === "base64") {
    text = new TextDecoder().decode(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
  }
  const cut = text.length - OUTPUT_CHARS;
  put(element, cut > 0 ? `${text.slice(0, OUTPUT_CHARS)}\n… ${cut} more characters are not shown.` : text);
  element.classList.toggle("nothing", text === "");
}

// ---- The key -------------------------------------------------------------------------------------------------------

/** Tries a key before it is kept. */
async function enter() {
  const key = $("key").value.trim();
  // What no header can carry is no key either.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Refusal({ message: "this is no API key", remedy: "it consists of letters, digits and signs, without blanks" });
  }
  sessionStorage.setItem(KEY, key);
  try {
    await call("GET", "/v1/sandboxes?limit=1");
  } catch (error) {
    sessionStorage.removeItem(KEY);
    if (error.status !== 401) throw error;
    throw new Refusal({ message: "this key is not accepted", remedy: "it may be mistyped, withdrawn, or of another installation" });
  }
  $("key").value = "";
  open();
  $("template").focus();
}

function open() {
  $("door").hidden = true;
  $("console").hidden = false;
  $("forget").hidden = false;
  refresh();
  if ($("follow").checked) follow();
  refreshTemplates().catch((error) => {
    if (error instanceof Refusal && error.status !== 401) logRefusal("Listing the templates", error);
  });
}

/** Forgets the key, and all that was seen with it. */
function forget(why) {
  unfollow();
  session.abort();
  session = new AbortController();
  sessionStorage.removeItem(KEY);
  rows.clear();
  for (const id of ["sandbox-rows", "template-rows", "log", "stdout", "stderr", "verdict"]) $(id).replaceChildren();
  for (const form of [$("create-form"), $("snapshot-form"), $("exec-form")]) form.reset();
  for (const problem of document.querySelectorAll(".problem")) put(problem, "");
  $("result").hidden = true;
  $("no-activity").hidden = false;
  $("console").hidden = true;
  $("forget").hidden = true;
  $("door").hidden = false;
  put($("key-problem"), why);
  $("key").focus();
}

// ---- The page ------------------------------------------------------------------------------------------------------

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  put($("key-problem"), "");
  try {
    await enter();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    put($("key-problem"), spoken(error));
    $("key").select();
  } finally {
    button.disabled = false;
  }
});
$("forget").addEventListener("click", () => forget(""));
onSend($("create-form"), "Creating a sandbox", create);
onSend($("snapshot-form"), "Taking a snapshot", snapshot);
onSend($("exec-form"), "Running a command", exec);
$("exec-id").addEventListener("input", markAll);
$("refresh").addEventListener("click", refresh);
$("refresh-templates").addEventListener("click", (event) => {
  const button = event.currentTarget;
  act(button, "Listing the templates", $("templates").querySelector(".problem"), async () => {
    const count = await refreshTemplates();
    return { text: `Listed the templates: ${count}.` };
  });
});
$("show-stopped").addEventListener("change", (event) => {
  $("sandboxes").classList.toggle("without-stopped", !event.target.checked);
});
$("clear").addEventListener("click", () => {
  $("log").replaceChildren();
  $("no-activity").hidden = false;
});
$("follow").addEventListener("change", (event) => {
  if (event.target.checked) follow();
  else unfollow();
});
// A stream that has ended, with its server as a rule, is taken up again.
setInterval(() => {
  const watched = !document.hidden && !$("console").hidden;
  if (watched && $("follow").checked && listing === 0) follow();
}, AGAIN_MS);

if (sessionStorage.getItem(KEY)) open();
else forget("");
