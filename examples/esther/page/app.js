import { showCalls } from "./calls.js";
import { byId, length } from "./dom.js";
import { Talk } from "./talk.js";
import { follow } from "./words.js";

const [panel, state, clock, hint] = ["talk", "state", "clock", "hint"].map(byId);
const [start, stop, microphone, trouble] = ["start", "stop", "microphone", "trouble"].map(byId);
const [load, notice] = ["load", "notice"].map(byId);

const REFRESH = 3000;
const SHOWN_CALLS = 20;
// Milliseconds of a call without any sound at all: no room is as quiet as a microphone that is off.
const DEAF = 8000;

const STATES = {
  idle: "Ready",
  connecting: "Connecting …",
  initializing: "Connecting …",
  listening: "Listening",
  thinking: "Thinking …",
  speaking: "Esther speaks",
  transferring: "Connecting with a person …",
  // While the states of another call are followed.
  elsewhere: "In a call",
};
const HINTS = {
  idle: "Talk through this browser. Headphones keep Esther from hearing herself.",
  connecting: "The browser may ask for the microphone.",
  talking: "Speak at any time: Esther stops when you do.",
  deaf: "Nothing has come from the microphone yet.",
};

// ---- Talking

let talk;

start.addEventListener("click", () => {
  const ours = new Talk();
  talk = ours;
  show("connecting");
  showTrouble();
  ours.addEventListener("began", ({ detail }) => {
    ours.call = detail;
    ours.began = performance.now();
    show("listening");
    followOwn();
    refresh();
  });
  ours.addEventListener("level", ({ detail }) => {
    ours.heard ||= detail > 0;
    microphone.style.setProperty("--level", detail.toFixed(3));
  });
  ours.addEventListener("trouble", ({ detail }) => showTrouble(detail));
  ours.addEventListener("ended", () => {
    talk = undefined;
    show("idle");
    refresh();
  });
  ours.start();
});

stop.addEventListener("click", ({ detail }) => {
  // More than one: the second half of a double click on Start.
  if (detail <= 1) talk?.stop();
});

function followOwn() {
  const ours = talk;
  const told = (now) => talk === ours && now in STATES && show(now);
  follow(ours.call, { ours: true, title: "Your call", told });
}

function show(name) {
  const inCall = name !== "idle";
  const focused = document.activeElement === start || document.activeElement === stop;
  panel.dataset.state = name;
  state.textContent = STATES[name];
  document.title = inCall ? "In a call – Esther" : "Esther";
  if (start.hidden !== inCall) {
    start.hidden = inCall;
    stop.hidden = !inCall;
    if (focused) (inCall ? stop : start).focus();
  }
  tick();
}

function tick() {
  const lasted = talk?.began && performance.now() - talk.began;
  clock.textContent = lasted === undefined ? "" : length(lasted / 1000);
  const deaf = lasted > DEAF && !talk.heard;
  hint.textContent = !talk ? HINTS.idle : !talk.began ? HINTS.connecting : deaf ? HINTS.deaf : HINTS.talking;
}

function showTrouble(text = "") {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// ---- Calls

async function refresh() {
  if (document.hidden) return;
  try {
    const [status, list] = await Promise.all([get("status"), get(`calls?limit=${SHOWN_CALLS}`)]);
    // Screen readers read it again whenever it is set.
    if (notice.textContent !== status.model.notice) notice.textContent = status.model.notice;
    notice.classList.toggle("real", status.model.real);
    notice.hidden = false;
    load.textContent = `${status.calls} of ${status.maxCalls} lines in use${status.ready ? "" : " · about to stop"}`;
    load.classList.remove("bad");
    showCalls(list.calls, act);
  } catch {
    load.textContent = "Esther does not answer";
    load.classList.add("bad");
  }
}

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

async function act(what, call, title) {
  if (what === "follow") {
    if (call === talk?.call) followOwn();
    else {
      if (talk) show("elsewhere");
      follow(call, { title });
    }
    byId("log").scrollIntoView({ block: "nearest" });
    return;
  }
  // A call that is over by now has nothing to hang up.
  await fetch(`calls/${encodeURIComponent(call)}/hangup`, { method: "POST" }).catch(() => {});
  refresh();
}

document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH);
setInterval(tick, 1000);
show("idle");
refresh();
