// Which view an address shows.

import { createView } from "/page/create.js";
import { element } from "/page/dom.js";
import { groupView } from "/page/people/group.js";
import { historyView } from "/page/people/history.js";
import { peopleView } from "/page/people/people.js";
import { TABS, personView } from "/page/people/person.js";
import { suggestionsView } from "/page/people/suggestions.js";
import { photoView } from "/page/photos/photo.js";
import { photosView } from "/page/photos/photos.js";
import { sessionView } from "/page/session.js";
import { sessionsView } from "/page/sessions.js";

const ROUTES = [
  [/^(?:sessions)?$/, sessionsView, "sessions"],
  [/^sessions\/(\d+)$/, sessionView, "sessions"],
  [/^new$/, createView, ""],
  [/^people$/, peopleView, "people"],
  [/^people\/suggestions$/, suggestionsView, "people"],
  [/^people\/history$/, historyView, "people"],
  [/^people\/groups\/(\d+)$/, groupView, "people"],
  [new RegExp(`^people/(\\d+)(?:/(${Object.keys(TABS).join("|")}))?$`), personView, "people"],
  [/^photos$/, photosView, "photos"],
  [/^photos\/(\d+)$/, photoView, "photos"],
];

/** The view of an address such as "#/people/3?from=photos", which part of the page it is in, and what it names. */
export function viewOf(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?", 2);
  for (const [pattern, view, nav] of ROUTES) {
    const matched = path.match(pattern);
    if (matched) return { view, nav, parameters: matched.slice(1), query: new URLSearchParams(query) };
  }
  return { view: noSuchView, nav: "", parameters: [], query: new URLSearchParams() };
}

function noSuchView(main, { title }) {
  title("Not found");
  main.append(
    element("h1", {}, "There is nothing here"),
    element("p", {}, element("a", { href: "#/sessions" }, "See all sessions")),
  );
}
