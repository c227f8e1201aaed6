// The picture, as large as there is room, and where the faces are in it.

import { queried } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { facesToggle } from "/page/photos/faces_toggle.js";
import { faceWord } from "/page/parts/face.js";
import { folderName } from "/page/words.js";

const SMALL = 320; // which the list has shown already
const LARGE = 1280;
const UNSHOWN = "The picture cannot be shown just now. Try again in a moment.";

/** `onFace(face, box)` is told when a face is chosen. */
export function photoStage({ mayChange, onFace }) {
  const small = element("img", { class: "small", alt: "" });
  const large = element("img", { class: "large" });
  const boxes = element("div", { class: "boxes" });
  const picture = element("div", { class: "picture" }, small, large, boxes);
  const why = element("p", { class: "notice", hidden: true });
  const node = element("figure", { class: "stage" }, picture, why);
  const made = new Map(); // face id -> its box
  const toggle = facesToggle((isShown) => boxes.classList.toggle("all", isShown));
  let image = null;

  function show(now) {
    if (image?.thumbnailUrl === now.thumbnailUrl && image.missingSince === now.missingSince) return;
    image = now;
    setOptionalText(why, whyNone(now));
    picture.hidden = Boolean(whyNone(now));
    if (picture.hidden) return;
    large.alt = folderName(now.path).name;
    small.src = queried(now.thumbnailUrl, { side: SMALL });
    large.src = queried(now.thumbnailUrl, { side: LARGE });
    if (now.width && now.height) fit(now);
  }

  // The room it takes is known before it is loaded, so that nothing jumps.
  function fit({ width, height }) {
    const scale = Math.min(1, LARGE / Math.max(width, height));
    picture.style.setProperty("--width", `${Math.round(width * scale)}px`);
    picture.style.setProperty("--ratio", `${width / height}`);
  }

  function showFaces(faces) {
    const hadFocus = boxes.contains(document.activeElement);
    made.clear();
    if (image?.width) faces.forEach((face) => made.set(face.id, boxOf(face)));
    boxes.replaceChildren(...made.values());
    if (hadFocus) boxes.querySelector("button")?.focus();
  }

  function boxOf(face) {
    const asked = mayChange && !face.ignored ? "Who is this?" : "";
    const name = element("span", { class: "box-name" }, face.person?.name ?? asked);
    const label = `${faceWord(face)}: change`;
    const box = mayChange
      ? element("button", { type: "button", "aria-label": label, onclick: () => onFace(face, box) }, name)
      : element(face.person ? "a" : "span", { href: face.person && `#/people/${face.person.id}` }, name);
    box.classList.add("box");
    box.dataset.state = face.person ? "named" : face.ignored ? "ignored" : "unknown";
    place(box, face.box);
    return box;
  }

  function place(box, { left, top, right, bottom }) {
    const x = (length) => `${(length / image.width) * 100}%`;
    const y = (length) => `${(length / image.height) * 100}%`;
    Object.assign(box.style, { left: x(left), top: y(top), width: x(right - left), height: y(bottom - top) });
  }

  large.addEventListener("load", () => large.classList.add("loaded"));
  large.addEventListener("error", () => setOptionalText(why, UNSHOWN));
  return { node, picture, toggle, show, showFaces, boxOf: (id) => made.get(id) ?? null };
}

function whyNone({ missingSince, broken }) {
  if (missingSince) return "The file is not where it was any more, so there is no picture to show.";
  return broken ? broken.message : null;
}
