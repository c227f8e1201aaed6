// What was just done, for a while, with a way to take it back.

import { element, setOptionalText } from "/page/dom.js";

const SHOWN_MS = 12_000;

const region = document.getElementById("toast");
let shown = null; // { node, undo, timer }

/** Say what was done; `undo` takes it back and fulfils with what to say then. Takes the place of what was shown. */
export function toast(sentence, undo = null) {
  forgetToast();
  const trouble = element("span", { class: "toast-trouble", hidden: true });
  const button = undo && element("button", { type: "button", class: "link" }, "Undo");
  const closing = { type: "button", class: "close", "aria-label": "Close", onclick: forgetToast };
  const parts = [element("span", {}, sentence), trouble, button, element("button", closing, "×")];
  const node = element("div", { class: "toast" }, ...parts);
  const made = { node, undo: undo && (() => takeBack(made, undo, button, trouble)), timer: 0, isBusy: false };
  button?.addEventListener("click", made.undo);
  for (const event of ["pointerenter", "focusin"]) node.addEventListener(event, () => clearTimeout(made.timer));
  for (const event of ["pointerleave", "focusout"]) node.addEventListener(event, () => goLater(made));
  region.replaceChildren(node);
  shown = made;
  goLater(made);
}

export function forgetToast() {
  if (!shown) return;
  clearTimeout(shown.timer);
  const hadFocus = shown.node.contains(document.activeElement);
  shown.node.remove();
  shown = null;
  if (hadFocus) document.getElementById("main").focus({ preventScroll: true });
}

function goLater(made) {
  clearTimeout(made.timer);
  made.timer = setTimeout(() => made === shown && forgetToast(), SHOWN_MS);
}

// The button is not switched off meanwhile: that would lose the focus.
async function takeBack(made, undo, button, trouble) {
  if (made.isBusy) return;
  made.isBusy = true;
  clearTimeout(made.timer);
  try {
    const said = await undo();
    if (made === shown) toast(said);
  } catch (error) {
    if (document.activeElement === button) button.nextElementSibling.focus();
    button.hidden = true;
    setOptionalText(trouble, error.message);
    goLater(made);
  }
}

// Ctrl+Z where nothing is typed, which has an undo of its own.
document.addEventListener("keydown", (event) => {
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  if (!isUndo || event.target.closest?.("input:not([type=checkbox]), textarea, select") || !shown?.undo) return;
  event.preventDefault();
  shown.undo();
});
