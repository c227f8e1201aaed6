// Looking for photos by what is in them, where this installation can.

import { element } from "/page/dom.js";

const TYPING_MS = 500;

/** The field, or the reason why there is none. */
export function textSearch({ textSearch: isThere }, go) {
  const input = element("input", {
    type: "search", "aria-label": "Search photos", placeholder: "Search: a dog on a beach", maxlength: "500",
    enterkeyhint: "search",
  });
  const form = element("form", { class: "text-search" }, input);
  let timer = 0;
  let shown = "";

  function look() {
    clearTimeout(timer);
    const text = input.value.trim();
    if (text === shown) return;
    const isRefined = Boolean(text && shown); // going on typing is one search
    shown = text;
    go({ text: text || null }, isRefined);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, TYPING_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });

  function update({ text }) {
    if (document.activeElement !== input || !text) input.value = text ?? "";
    shown = text ?? "";
  }

  return { nodes: isThere ? [form] : [whyNot()], update };
}

function whyNot() {
  const command = element("code", {}, "trainyard models download clip");
  return element("p", { class: "hint" }, "Searching by words begins once the text model is here: ", command);
}
