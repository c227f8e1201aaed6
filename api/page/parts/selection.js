// Choosing several of a list, and what is done with them then.

import { element, setText } from "/page/dom.js";

/**
 * A bar that stands below while something is chosen. `word(number)` says how much; `actions` are nodes; `onChange`
 * is told whenever the choice is another. Ids are kept, not nodes, so that lists may be read again meanwhile.
 */
export function selection({ word, actions, onChange = () => {} }) {
  const chosen = new Set();
  const boxes = new Map(); // id -> its checkbox
  const said = element("span", { class: "number", role: "status" });
  const clearing = element("button", { type: "button", class: "link", onclick: () => clear() }, "Clear");
  const node = element(
    "div", { class: "selection-bar", role: "group", "aria-label": "Chosen", hidden: true }, said, ...actions, clearing,
  );
  let last = null;

  function show() {
    node.hidden = chosen.size === 0;
    setText(said, chosen.size ? word(chosen.size) : "");
    for (const [id, box] of boxes) box.checked = chosen.has(id);
    for (const box of boxes.values()) box.closest("ul")?.classList.toggle("choosing", chosen.size > 0);
    onChange(chosen);
  }

  function clear() {
    const hadFocus = node.contains(document.activeElement);
    chosen.clear();
    show();
    const next = [...boxes.values()].find((box) => box.isConnected) ?? document.getElementById("main");
    if (hadFocus) next.focus({ preventScroll: true });
  }

  function choose(ids, isChosen = true) {
    ids.forEach((id) => (isChosen ? chosen.add(id) : chosen.delete(id)));
    show();
  }

  /** A checkbox for one of the list. With Shift it takes all between it and the one before along. */
  function pick(id, label) {
    const box = element("input", { type: "checkbox", class: "pick", "aria-label": label });
    box.checked = chosen.has(id);
    box.addEventListener("click", (event) => {
      choose(event.shiftKey && last !== null ? between(last, id) : [id], box.checked);
      last = id;
    });
    boxes.set(id, box);
    return box;
  }

  function between(one, other) {
    const there = [...boxes].filter(([, box]) => box.isConnected).sort(([, a], [, b]) => (
      a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
    const ends = [one, other].map((id) => there.findIndex(([known]) => known === id));
    if (ends.includes(-1)) return [other];
    return there.slice(Math.min(...ends), Math.max(...ends) + 1).map(([id]) => id);
  }

  /** Forget what is not in the list any more. */
  function keep(ids) {
    const there = new Set(ids);
    for (const id of boxes.keys()) if (!there.has(id)) boxes.delete(id);
    const gone = [...chosen].filter((id) => !there.has(id));
    if (gone.length) choose(gone, false);
  }

  return { node, pick, clear, keep, chosen: () => [...chosen], chooseAll: () => choose([...boxes.keys()]) };
}
