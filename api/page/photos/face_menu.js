// What can be said of one face of a photo: whose it is, that it is not, or that it does not matter.

import { post } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { acting } from "/page/parts/acting.js";
import { change } from "/page/parts/changes.js";
import { idOrName, personField } from "/page/parts/combobox.js";
import { facePicture, faceWord } from "/page/parts/face.js";

/** A menu that opens at a face's box in `into`. `onDone(faceId, hasChanged)` is told when it has closed. */
export function faceMenu({ into, signal, onDone }) {
  let opened = null; // { node, face }

  function open(face, box) {
    close();
    const node = element("div", { class: "face-menu card", role: "dialog", "aria-label": faceWord(face) });
    const act = acting({
      signal,
      onDone: () => {
        if (opened?.node === node) dismiss();
        onDone(face.id, true);
      },
      onTrouble: (error) => setOptionalText(node.querySelector(".field-error.menu"), error?.message),
    });
    node.append(...partsOf(face, (ask) => act(() => change(ask)), signal, close));
    into.append(node);
    opened = { node, face };
    beside(node, box, into);
    (node.querySelector("input") ?? node.querySelector("button")).focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }

  function dismiss() {
    opened.node.remove();
    opened = null;
  }

  /** True if it was open. */
  function close() {
    if (!opened) return false;
    const { node, face } = opened;
    const hadFocus = node.contains(document.activeElement);
    dismiss();
    if (hadFocus) onDone(face.id, false);
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !opened?.node.contains(event.target)) return;
    event.preventDefault(); // for who else would go back
    close();
  }, { signal });
  document.addEventListener("pointerdown", (event) => {
    if (opened && !opened.node.contains(event.target) && !event.target.closest(".box")) close();
  }, { signal });
  return { open, close };
}

function partsOf(face, act, signal, close) {
  const { id, person, ignored } = face;
  const field = personField({
    label: person ? "Somebody else" : "Who is this?", placeholder: person ? "Somebody else…" : "Who is this?", signal,
    without: () => (person ? [person.id] : []),
    onChoose: (chosen) => act(() => post("/faces/assign", { faceIds: [id], ...idOrName(chosen) })),
  });
  const button = (label, ask) => element("button", { type: "button", onclick: () => act(ask) }, label);
  const head = element("div", { class: "face-menu-head" }, facePicture(face), whoIs(face),
    element("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "×"));
  const buttons = element("div", { class: "buttons" });
  if (person) buttons.append(button(`Not ${person.name}`, () => post("/faces/unassign", { faceIds: [id] })));
  const ignore = () => post("/faces/ignore", { faceIds: [id], ignored: !ignored });
  if (!person) buttons.append(button(ignored ? "Do not ignore" : "Ignore this face", ignore));
  const trouble = element("p", { class: "field-error menu", role: "alert", hidden: true });
  return [head, ...(ignored ? [] : [field.node]), buttons, trouble];
}

function whoIs({ person, assignedBy, similarity, ignored }) {
  if (!person) return element("span", {}, ignored ? "Ignored" : "Unknown");
  const isGuess = assignedBy === "engine" && similarity !== null;
  const how = isGuess && element("span", { class: "hint" }, `recognised, ${Math.round(similarity * 100)} % alike`);
  return element("span", {}, element("a", { href: `#/people/${person.id}` }, person.name), how || null);
}

/** Below the face and inside the picture; on small screens the style sheet has it at the bottom instead. */
function beside(node, box, into) {
  if (!box) return;
  const [at, room] = [box.getBoundingClientRect(), into.getBoundingClientRect()];
  const left = Math.max(0, Math.min(at.left - room.left, room.width - node.offsetWidth));
  node.style.left = `${left}px`;
  node.style.top = `${at.bottom - room.top + 8}px`;
}
