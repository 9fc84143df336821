// Small things that every part of the page uses.

export const byId = (id) => document.getElementById(id);

export function element(name, looks, ...children) {
  const made = document.createElement(name);
  if (looks) made.className = looks;
  made.append(...children);
  return made;
}

export function timeOfDay(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

// With the day, where that is not today.
export function moment(time) {
  const at = new Date(time);
  if (at.toDateString() === new Date().toDateString()) return timeOfDay(at);
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${timeOfDay(at)}`;
}

// `1:05`
export function length(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// `not_interested` as people write it.
export function plain(word) {
  return word.replaceAll("_", " ");
}
