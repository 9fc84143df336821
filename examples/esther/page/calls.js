// The list of calls, live and finished.

import { byId, element, length, moment, plain } from "./dom.js";

const [list, none] = ["calls", "no-calls"].map(byId);

let shown;

// Shows `calls`; `act(what, call, title)` is told which of a call's buttons was pressed:
// `"follow"` or `"hang up"`.
export function showCalls(calls, act) {
  // Rows are left alone while nothing changes, so that the focus stays where it is.
  const now = JSON.stringify(calls.map((call) => [call.call_uuid, call.status, Math.floor(call.duration_seconds)]));
  if (now === shown) return;
  shown = now;
  const focused = document.activeElement?.dataset?.key;
  list.replaceChildren(...calls.map((call) => row(call, act)));
  none.hidden = calls.length > 0;
  if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function row(call, act) {
  const live = call.status === "in_progress";
  const who = call.phone_number ?? "Browser";
  const facts = [moment(call.start_time), length(call.duration_seconds)];
  const title = `${who}, ${facts[0]}`;
  const name = element("p", "", element("b", "", who));
  if (live) name.append(element("em", "", "live"));
  else facts.push(plain(call.outcome ?? call.status));
  const button = (text, what) => {
    const made = element("button", "", text);
    made.dataset.key = `${call.call_uuid} ${what}`;
    made.setAttribute("aria-label", `${text}: ${title}`);
    made.addEventListener("click", () => act(what, call.call_uuid, title));
    return made;
  };
  const buttons = element("div", "buttons", button(live ? "Follow" : "Read", "follow"));
  if (live) buttons.append(button("Hang up", "hang up"));
  const about = element("div", "", name, element("p", "quiet", facts.join(" · ")));
  return element("li", "", about, buttons);
}
