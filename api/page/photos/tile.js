// One photo of a grid: a square cut out of it, around the faces that matter where there are any.

import { queried } from "/page/api.js";
import { element } from "/page/dom.js";
import { dayTaken, folderName } from "/page/words.js";

const SIDE = 320;

/** `faces` are shown on demand (those of a person, say), `name` is whose they are. */
export function photoTile(image, { href, faces = [], name = null, similarity = null }) {
  const picture = element("img", { src: queried(image.thumbnailUrl, { side: SIDE }), alt: "", decoding: "async" });
  const link = element("a", { href, "aria-label": wordOf(image, name, similarity) }, picture);
  const instead = element("span", { class: "no-picture" }, folderName(image.path).name);
  picture.addEventListener("error", () => link.replaceChildren(instead));
  if (!image.width || !image.height) return link;
  const cut = squareAround(image, faces[0]?.box);
  picture.style.objectPosition = `${cut.x * 100}% ${cut.y * 100}%`;
  link.append(...faces.map((face) => boxInSquare(image, face, cut)));
  return link;
}

function wordOf({ path, takenAt, missingSince }, name, similarity) {
  const parts = [folderName(path).name];
  if (takenAt) parts.push(dayTaken(takenAt));
  if (name) parts.push(name);
  if (similarity !== null) parts.push(`${Math.round(similarity * 100)} % alike`);
  if (missingSince) parts.push("not there any more");
  return parts.join(", ");
}

/** How far (0 to 1) the square is moved along the photo's longer side, so that the box is in its middle. */
function squareAround({ width, height }, box) {
  const side = Math.min(width, height);
  const share = (size, middle) => (size === side ? 0.5 : Math.max(0, Math.min(1, (middle - side / 2) / (size - side))));
  if (!box) return { x: 0.5, y: 0.5 };
  return { x: share(width, (box.left + box.right) / 2), y: share(height, (box.top + box.bottom) / 2) };
}

function boxInSquare({ width, height }, { box }, cut) {
  const side = Math.min(width, height);
  const [left, top] = [(width - side) * cut.x, (height - side) * cut.y];
  const node = element("span", { class: "tile-box" });
  const percent = (length) => `${(length / side) * 100}%`;
  Object.assign(node.style, {
    left: percent(box.left - left), top: percent(box.top - top),
    width: percent(box.right - box.left), height: percent(box.bottom - box.top),
  });
  return node;
}
