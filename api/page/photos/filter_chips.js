// What photos are looked for, each as something that can be taken away.

import { get, queried } from "/page/api.js";
import { arrange, element } from "/page/dom.js";
import { avatar } from "/page/parts/face.js";

/** The people who must all be in a photo; `onChange(ids)` is told when one is taken away. */
export function personChips(signal, onChange) {
  const node = element("ul", { class: "chips", "aria-label": "All of these people" });
  const made = new Map();
  let ids = [];

  function chipOf(id) {
    const chip = element("li", { class: "token" });
    const remove = () => onChange(ids.filter((one) => one !== id));
    const show = (person) => chip.replaceChildren(avatar(person), person.name, removeButton(person.name, remove));
    show({ name: "…" }); // until it is known, or if they are no more
    get(`/persons/${id}`, signal).then(show, () => {});
    return chip;
  }

  function update(now) {
    ids = now;
    for (const id of now) if (!made.has(id)) made.set(id, chipOf(id));
    arrange(node, now.map((id) => made.get(id)));
    node.hidden = now.length === 0;
  }

  return { node, update };
}

/** The photo that others are to be like. */
export function similarChip(signal, onRemove) {
  const node = element("span", { class: "token", hidden: true });
  let shown = null;

  function update(id) {
    node.hidden = id === null;
    if (id === shown || id === null) return;
    shown = id;
    node.replaceChildren("Like this photo", removeButton("the photo that others are to be like", onRemove));
    get(`/images/${id}`, signal).then(({ thumbnailUrl }) => {
      if (shown !== id) return;
      const picture = element("img", { src: queried(thumbnailUrl, { side: 160 }), alt: "" });
      node.prepend(element("a", { href: `#/photos/${id}`, "aria-label": "See it" }, picture));
    }, () => {});
  }

  return { node, update };
}

function removeButton(what, onclick) {
  return element("button", { type: "button", class: "close", "aria-label": `Remove ${what}`, onclick }, "×");
}
