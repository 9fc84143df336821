import { Talk } from "./talk.js";

const byId = (id) => document.getElementById(id);
const [start, stop, state, level, trouble] = ["start", "stop", "state", "level", "trouble"].map(byId);
const [words, early, silence] = ["words", "early", "silence"].map(byId);
const [load, notice, calls, noCalls] = ["load", "notice", "calls", "no-calls"].map(byId);

const REFRESH = 3000;
const SHOWN_CALLS = 20;

// ---- Talking

let talk;

start.addEventListener("click", () => {
  const ours = new Talk();
  talk = ours;
  start.disabled = true;
  stop.disabled = false;
  showTrouble();
  showState("initializing", "connecting");
  ours.addEventListener("began", ({ detail }) => follow(detail));
  ours.addEventListener("level", ({ detail }) => (level.value = detail));
  ours.addEventListener("trouble", ({ detail }) => showTrouble(detail));
  ours.addEventListener("ended", () => {
    start.disabled = false;
    stop.disabled = true;
    showState("idle", "not in a call");
    start.focus();
    refresh();
  });
  ours.start();
});

stop.addEventListener("click", () => {
  stop.disabled = true;
  talk.stop();
});

function showState(name, text = name) {
  state.dataset.state = name;
  state.textContent = text;
}

function showTrouble(text = "") {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// ---- What is said

let source;
const captions = { Human: "", Assistant: "" };

// Shows a call from its first line on, and goes on while it lasts.
function follow(call, attempts = 20) {
  source?.close();
  clearWords();
  const events = new EventSource(`calls/${encodeURIComponent(call)}/events`);
  source = events;
  const on = (name, react) => events.addEventListener(name, ({ data }) => react(JSON.parse(data)));
  on("caption", ({ speaker, text }) => showCaption(speaker, `${captions[speaker]} ${text}`.trim()));
  on("utterance", (line) => {
    showCaption(line.speaker, "");
    showLine(line);
  });
  on("state", (change) => {
    if (talk && !talk.over) showState(change.new);
  });
  on("ended", ({ outcome }) => {
    events.close();
    clearCaptions();
    silence.hidden = false;
    silence.textContent = `The call is over: ${outcome.replaceAll("_", " ")}.`;
    refresh();
  });
  // Lost connections come back by themselves. A refusal does not: the call may be about to begin.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED && source === events && attempts > 0) {
      setTimeout(() => source === events && follow(call, attempts - 1), 250);
    }
  });
}

function clearWords() {
  words.replaceChildren();
  clearCaptions();
  silence.hidden = false;
  silence.textContent = "Nothing yet.";
}

function clearCaptions() {
  captions.Human = captions.Assistant = "";
  early.textContent = "";
}

function showCaption(speaker, text) {
  captions[speaker] = text;
  early.textContent = Object.entries(captions)
    .filter(([, text]) => text)
    .map(([speaker, text]) => `${speaker}: ${text}`)
    .join(" · ");
}

function showLine({ at, speaker, text, cut }) {
  const time = element("time", clock(at));
  time.dateTime = at;
  const line = element("li", time, element("b", `${speaker}:`), text);
  if (cut) {
    const mark = element("span", " [cut]");
    mark.className = "cut";
    line.append(mark);
  }
  words.append(line);
  silence.hidden = true;
  line.scrollIntoView({ block: "nearest" });
}

// ---- Calls

async function refresh() {
  if (document.hidden) return;
  try {
    const [status, list] = await Promise.all([get("status"), get(`calls?limit=${SHOWN_CALLS}`)]);
    notice.textContent = status.model.notice;
    notice.classList.toggle("real", status.model.real);
    notice.hidden = false;
    load.textContent = `${status.calls} of ${status.maxCalls} lines in use${status.ready ? "" : " · about to stop"}`;
    showCalls(list.calls);
  } catch {
    load.textContent = "Esther does not answer.";
  }
}

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

let shown = "";

function showCalls(list) {
  // Rows are left alone while nothing changes, so that the focus stays where it is.
  const now = JSON.stringify(list.map((call) => ({ ...call, duration_seconds: Math.round(call.duration_seconds) })));
  if (now === shown) return;
  shown = now;
  const focused = document.activeElement?.dataset?.key;
  calls.replaceChildren(...list.map(row));
  noCalls.hidden = list.length > 0;
  if (focused) calls.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function row(call) {
  const live = call.status === "in_progress";
  const actions = element("td", button(call, live ? "Follow" : "Read", () => follow(call.call_uuid)));
  if (live) actions.append(button(call, "Hang up", () => hangUp(call.call_uuid)));
  const result = live ? "live" : (call.outcome ?? call.status).replaceAll("_", " ");
  return element(
    "tr",
    element("td", clock(call.start_time)),
    element("td", call.phone_number ?? "browser"),
    element("td", result),
    element("td", `${Math.round(call.duration_seconds)} s`),
    actions,
  );
}

function button(call, text, act) {
  const made = element("button", text);
  made.dataset.key = `${call.call_uuid} ${text}`;
  made.setAttribute("aria-label", `${text}: call of ${clock(call.start_time)}`);
  made.addEventListener("click", act);
  return made;
}

async function hangUp(call) {
  await fetch(`calls/${encodeURIComponent(call)}/hangup`, { method: "POST" });
  refresh();
}

// ---- Small things

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH);
refresh();
