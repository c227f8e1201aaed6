// Faces as small pictures, round for people.

import { queried } from "/page/api.js";
import { element } from "/page/dom.js";

/** The picture of a face (or of a person's cover), `side` px wide; what it shows is told by `alt`. */
export function facePicture({ thumbnailUrl }, { side = 160, alt = "", classes = "face" } = {}) {
  const picture = element("img", {
    class: classes, alt, src: queried(thumbnailUrl, { side }), loading: "lazy", decoding: "async",
    width: side, height: side,
  });
  picture.addEventListener("error", () => picture.classList.add("gone")); // its photo is not there any more
  return picture;
}

/** Whom we mean, as a round face; the first letter of the name where there is no face. */
export function avatar({ name, cover }, { side = 160 } = {}) {
  if (cover) return element("span", { class: "avatar" }, facePicture(cover, { side }));
  return element("span", { class: "avatar lettered", "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
}

/** What a face shows, for those who do not see it. */
export function faceWord({ person, ignored }) {
  if (person) return person.name;
  return ignored ? "Ignored face" : "Unknown face";
}
