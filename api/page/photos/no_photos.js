// What to do where no photo is found.

import { get } from "/page/api.js";
import { element } from "/page/dom.js";
import { isFiltered } from "/page/photos/search_state.js";

/** A card; `clear` looks for all photos. */
export async function noPhotos(search, { signal, mayChange }, clear) {
  if (isFiltered(search)) {
    return element("div", { class: "card empty" }, element("h2", {}, "No photo matches all of this"),
      element("button", { type: "button", class: "primary", onclick: clear }, "Show all photos"));
  }
  const { items } = await get("/training/sessions?limit=1", signal).catch(() => ({ items: [] }));
  const words = items.length ? "The first photos appear here as soon as a session has found them." : (
    "A session finds the photos of a folder; from then on they are here.");
  const begin = element("a", { class: "button primary", href: "#/new" }, "New session");
  const watch = element("a", { class: "button", href: "#/sessions" }, "See sessions");
  return element("div", { class: "card empty" }, element("h2", {}, "No photos yet"), element("p", {}, words),
    items.length || !mayChange ? watch : begin);
}
