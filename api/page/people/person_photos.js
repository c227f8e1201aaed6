// The photos somebody is in, with the face shown where it is.

import { get, listPath, queried } from "/page/api.js";
import { element } from "/page/dom.js";
import { photoGrid } from "/page/photos/grid.js";
import { PagedList } from "/page/photos/paged_list.js";
import { photoTile } from "/page/photos/tile.js";

const PAGE = 200;

export function personPhotos(person, { signal, tellTrouble }) {
  const list = new PagedList((token) => get(listPath(`/persons/${person.id}/photos`, PAGE, token), signal));
  const mark = () => grid.node.classList.toggle("boxed", toggle.checked);
  const toggle = element("input", { type: "checkbox", onchange: mark });
  const none = element("p", { class: "hint", hidden: true }, "No photos yet.");
  const grid = photoGrid({
    list, label: `Photos of ${person.name}`, signal, onTrouble: tellTrouble,
    tile: ({ image, faces }, at) => photoTile(image, {
      href: queried(`#/photos/${image.id}`, { personId: person.id, at }), faces, name: person.name,
    }),
  });
  let shown = "";

  async function refresh(now) {
    const key = `${now.photos} ${now.faces}`;
    if (key !== shown) await grid.reread();
    shown = key;
    none.hidden = list.length > 0;
    return true;
  }

  const showing = element("label", { class: "switch" }, toggle, "Show faces");
  return { nodes: [showing, none, grid.node], refresh };
}
