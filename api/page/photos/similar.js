// The photos that look most like one.

import { get } from "/page/api.js";
import { element } from "/page/dom.js";
import { know } from "/page/photos/known.js";
import { photoAddress, searchOf } from "/page/photos/search_state.js";
import { photoTile } from "/page/photos/tile.js";

const SHOWN = 12;

/** The strip, hidden where nothing is like it (or it is not known what is). */
export function similarStrip(id, signal) {
  const list = element("ul", { class: "strip" });
  const heading = element("h2", {}, "Similar photos");
  const node = element("section", { "aria-label": "Similar photos", hidden: true }, heading, list);
  const search = { ...searchOf(new URLSearchParams()), similarTo: id };

  async function read() {
    const page = await get(`/images/${id}/similar?limit=${SHOWN}`, signal).catch(() => ({ items: [] }));
    node.hidden = page.items.length === 0;
    list.replaceChildren(...page.items.map(({ image, similarity }, at) => {
      know(image);
      return element("li", {}, photoTile(image, { href: photoAddress(image.id, search, at), similarity }));
    }));
  }

  return { node, read };
}
