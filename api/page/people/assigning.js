// The line that says that more of somebody's faces are being looked for, and how far that is.

import { get } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { LiveProgress } from "/page/live.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { faces, isActive, percent } from "/page/words.js";

const LOOK_MS = 15_000;
const SOON_MS = 3_000;
const SOON_FOR_MS = 30_000; // after a change the server waits a little for others, then looks for all of them at once

/** The line, empty while nothing is looked for. `onEnded` is called when a search has ended. */
export function assigningLine({ signal, onEnded }) {
  const line = element("span", { class: "number" });
  const bar = element("progress", { max: "100", "aria-label": "Looking for more faces" });
  const node = element("div", { class: "assigning", hidden: true }, line, bar);
  const ended = element("p", { class: "hint assigned", role: "status" });
  const state = { watched: null, timer: 0, soonUntil: 0, stop: null, last: null }; // `last`: the newest one known of

  async function look() {
    clearTimeout(state.timer);
    try {
      const { items } = await get("/training/sessions?limit=5", signal);
      meet(items.find(({ assignOnly }) => assignOnly));
    } catch {
      // the next look may tell
    }
    if (!signal.aborted && !state.watched) again();
  }

  // One may have begun and ended between two looks.
  function meet(newest) {
    const before = state.last;
    state.last = newest?.id ?? 0;
    if (!newest || state.watched) return;
    if (isActive(newest.overallStatus)) watch(newest.id);
    else if (before !== null && newest.id > before) end(newest.id);
  }

  function again() {
    const isSoon = performance.now() < state.soonUntil;
    state.timer = setTimeout(() => (document.hidden ? again() : look()), isSoon ? SOON_MS : LOOK_MS);
  }

  function watch(id) {
    state.watched = id;
    state.stop = new AbortController();
    setText(ended, "");
    new LiveProgress(id, AbortSignal.any([signal, state.stop.signal]), {
      onProgress: (progress) => show(id, progress),
      onTrouble: (error) => error?.status === 404 && leave(),
      isAwaited: () => false,
    });
  }

  function show(id, { overallStatus, overallProgress }) {
    if (state.watched !== id) return;
    if (!isActive(overallStatus)) {
      leave();
      end(id);
      return;
    }
    node.hidden = false;
    setText(line, `Looking for more of them … ${percent(Math.floor(overallProgress.percentage))}`);
    bar.value = overallProgress.percentage;
  }

  function leave() {
    state.stop?.abort();
    state.watched = null;
    node.hidden = true;
    again();
  }

  async function end(id) {
    onEnded();
    const found = await get(`/face-sessions/${id}`, signal).catch(() => null);
    if (found) setText(ended, foundWord(found));
  }

  onPeopleChanged(signal, () => {
    state.soonUntil = performance.now() + SOON_FOR_MS;
    if (state.watched) return;
    clearTimeout(state.timer);
    again();
  });
  signal.addEventListener("abort", () => clearTimeout(state.timer));
  look();
  return { nodes: [node, ended] };
}

function foundWord({ facesAssignedToPersons, suggestionsCreated }) {
  const parts = [];
  if (facesAssignedToPersons) parts.push(`${faces(facesAssignedToPersons)} recognised`);
  if (suggestionsCreated) parts.push(`${faces(suggestionsCreated)} to ask you about`);
  return parts.length ? `Looked again: ${parts.join(", ")}.` : "";
}
