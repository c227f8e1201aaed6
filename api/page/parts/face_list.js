// Many faces as a grid of squares, of which some can be chosen.

import { element } from "/page/dom.js";
import { facePicture, faceWord } from "/page/parts/face.js";
import { listing } from "/page/parts/listing.js";

const PAGE = 120;

/**
 * Faces read from `path()`. `faceOf(item)` is the face of an item, `chosen` a selection (none: nothing is chosen),
 * `word(item)` what it is called for those who do not see it.
 */
export function faceList({
  path, label, faceOf = (item) => item, word = (item) => faceWord(faceOf(item)), chosen, signal, onRead = () => {},
}) {
  const list = element("ul", { class: "face-grid", "aria-label": label });
  return listing({
    path, page: PAGE, list, more: "More faces", signal, key: (item) => faceOf(item).id,
    make: (item) => faceTile(faceOf(item), word(item), chosen),
    onRead: (items, hasMore) => {
      chosen?.keep(items.map((item) => faceOf(item).id));
      onRead(items, hasMore);
    },
  });
}

function faceTile(face, word, chosen) {
  const picture = facePicture(face, { alt: "" });
  const link = element("a", { href: `#/photos/${face.imageId}`, "aria-label": `${word}: see the photo` }, picture);
  const pick = chosen?.pick(face.id, `Choose ${word}`);
  return { node: element("li", { class: "face-tile" }, link, pick), update: () => {} };
}
