// All sessions, the newest first; kept up to date while any of them goes on.

import { arrange, element } from "/page/dom.js";
import { readPages } from "/page/parts/listing.js";
import { sessionRow } from "/page/session_row.js";
import { isActive } from "/page/words.js";

const PAGE = 25;
const AGAIN_MS = 2_000;

export function sessionsView(main, { system, signal, tellTrouble, title }) {
  const rows = new Map();
  const list = element("ul", { class: "sessions", "aria-label": "Sessions" });
  const empty = element("div", { class: "card empty", hidden: true }, ...nothingYet(system));
  const more = element("button", { type: "button", hidden: true }, "More sessions");
  let wanted = PAGE;
  let timer = 0;

  async function refresh() {
    clearTimeout(timer);
    try {
      const { items, nextPageToken } = await readPages("/training/sessions", wanted, signal);
      tellTrouble(null);
      place(list, rows, items);
      empty.hidden = items.length > 0;
      more.hidden = !nextPageToken;
      if (!items.some((session) => isActive(session.overallStatus))) return;
    } catch (error) {
      if (signal.aborted) return;
      tellTrouble(error);
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, AGAIN_MS);
  }

  more.addEventListener("click", () => {
    wanted += PAGE;
    refresh();
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", () => document.hidden || refresh(), { signal });
  title("Sessions");
  main.append(element("h1", {}, "Sessions"), list, empty, more);
  return refresh();
}

function nothingYet({ role }) {
  const words = "A session finds the photos of a folder, embeds them, and groups their faces by person.";
  const what = element("p", {}, words);
  const begin = element("a", { class: "button primary", href: "#/new" }, "Begin the first session");
  return [element("h2", {}, "No sessions yet"), what, role === "operator" ? begin : null].filter(Boolean);
}

// Rows that stay are kept, so that neither focus nor a half-moved bar is lost.
function place(list, rows, sessions) {
  for (const session of sessions) {
    if (!rows.has(session.id)) rows.set(session.id, sessionRow(session));
    rows.get(session.id).update(session);
  }
  arrange(list, sessions.map((session) => rows.get(session.id).node));
}
