// What is said in a call: early words at once, and each line once it is safely kept.

import { byId, element, length, plain, timeOfDay } from "./dom.js";

const [log, words, early, silence, about] = ["log", "words", "early", "silence", "about"].map(byId);

// How often a call that does not exist is asked for, and after how many milliseconds.
const ATTEMPTS = 20;
const PAUSE = 250;

let source;
let names;
let captions;

// Shows a call from its first line on, and goes on while it lasts. `told` hears of the agent's
// states: `"listening"`, ….
export function follow(call, { ours = false, title, told = () => {} }) {
  names = { Human: ours ? "You" : "Caller", Assistant: "Esther" };
  // Who talks hears Esther herself; a screen reader would talk over her.
  words.setAttribute("aria-live", ours ? "off" : "polite");
  words.replaceChildren();
  forgetCaptions();
  about.textContent = title;
  silence.hidden = false;
  silence.textContent = "Nothing was said yet.";
  listen(call, title, told, ATTEMPTS);
}

function listen(call, title, told, attempts) {
  source?.close();
  const events = new EventSource(`calls/${encodeURIComponent(call)}/events`);
  source = events;
  const on = (name, react) => events.addEventListener(name, ({ data }) => react(JSON.parse(data)));
  on("caption", ({ speaker, text }) => addCaption(speaker, text));
  on("utterance", addLine);
  on("state", (change) => told(change.new));
  on("ended", ({ outcome, duration }) => {
    events.close();
    forgetCaptions();
    about.textContent = `${title} · over after ${length(duration)} · ${plain(outcome)}`;
  });
  let known = false;
  events.addEventListener("open", () => {
    known = true;
    // Who comes back is told the captions once more.
    forgetCaptions();
  });
  events.addEventListener("error", () => {
    // Lost connections come back by themselves; what is closed was refused.
    if (events.readyState !== EventSource.CLOSED || source !== events) return;
    if (known || attempts === 0) {
      about.textContent = `${title} · lost`;
    } else {
      // The call may be about to begin.
      setTimeout(() => source === events && listen(call, title, told, attempts - 1), PAUSE);
    }
  });
}

function addLine({ at, speaker, text, cut }) {
  captions[speaker] = "";
  const line = row(speaker, text);
  if (cut) line.querySelector("p").append(element("span", "cut", " (interrupted)"));
  const time = element("time", "", timeOfDay(at));
  time.dateTime = at;
  line.append(time);
  stayingAtTheEnd(() => {
    words.append(line);
    showCaptions();
  });
}

function addCaption(speaker, text) {
  captions[speaker] = `${captions[speaker]} ${text}`.trim();
  stayingAtTheEnd(showCaptions);
}

function forgetCaptions() {
  captions = { Human: "", Assistant: "" };
  early.replaceChildren();
}

function showCaptions() {
  silence.hidden = true;
  const now = Object.entries(captions).filter(([, text]) => text);
  early.replaceChildren(...now.map(([speaker, text]) => row(speaker, text)));
}

function row(speaker, text) {
  return element("li", speaker.toLowerCase(), element("b", "", names[speaker]), element("p", "", text));
}

// Who has scrolled back to read is left alone.
function stayingAtTheEnd(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}
