// Whether faces are marked in photos: chosen once, kept from photo to photo.

import { element } from "/page/dom.js";

let areShown = true;

/** A switch; `onChange(areShown)` is told now and whenever it is moved. */
export function facesToggle(onChange) {
  const box = element("input", { type: "checkbox", "aria-keyshortcuts": "F" });
  const node = element("label", { class: "switch" }, box, "Mark faces");

  function set(isShown) {
    areShown = box.checked = isShown;
    onChange(isShown);
  }

  box.addEventListener("change", () => set(box.checked));
  set(areShown);
  return { node, flip: () => set(!areShown) };
}
