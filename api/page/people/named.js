// People who have names, as round faces; several chosen can be made one.

import { queried } from "/page/api.js";
import { element } from "/page/dom.js";
import { avatar } from "/page/parts/face.js";
import { listing } from "/page/parts/listing.js";
import { selection } from "/page/parts/selection.js";
import { mergePeople } from "/page/people/merge.js";
import { count, faces, photos } from "/page/words.js";

const PAGE = 120;
const TYPING_MS = 150;
const FEW = 8; // so many are found without a filter

/** `onRead(people, hasMore)` is told who there is, whenever that is read. */
export function namedPeople({ signal, mayChange }, onRead) {
  const known = new Map(); // by id, also those whom the filter has hidden since
  const filter = element("input", {
    type: "search", "aria-label": "Filter people by name", placeholder: "Filter by name", hidden: true,
  });
  const none = element("p", { class: "hint", hidden: true });
  const list = element("ul", { class: "people", "aria-label": "People" });
  const mergeButton = element("button", { type: "button", class: "primary", onclick: () => merge() }, "Merge");
  const chosen = selection({
    word: chosenWord, actions: [mergeButton], onChange: (ids) => { mergeButton.disabled = ids.size < 2; },
  });
  const people = listing({
    path: () => queried("/persons", { query: filter.value.trim() }), page: PAGE, list, more: "More people", signal,
    make: (person) => personTile(person, chosen), onRead: told,
  });
  const parts = [filter, none, ...people.nodes, chosen.node];
  const node = element("section", { class: "named", "aria-label": "Named people", hidden: true }, ...parts);
  const pressing = { type: "button", "aria-pressed": "false", hidden: true, onclick: select };
  const selectButton = element("button", pressing, "Select");
  let timer = 0;
  let isEmpty = true;

  function told(items, hasMore) {
    items.forEach((person) => known.set(person.id, person));
    const isFiltered = filter.value.trim() !== "";
    if (!isFiltered) {
      isEmpty = items.length === 0;
      filter.hidden = items.length <= FEW && !hasMore;
      if (!hasMore) chosen.keep(items.map(({ id }) => id));
      onRead(items, hasMore);
    }
    node.hidden = isEmpty;
    selectButton.hidden = !mayChange || (items.length < 2 && !isFiltered);
    none.hidden = items.length > 0 || !isFiltered;
    none.textContent = `Nobody is called “${filter.value.trim()}”.`;
  }

  async function refresh() {
    const isKnown = await people.refresh();
    if (!isKnown) node.hidden = false; // it says why
    return isKnown;
  }

  function select() {
    const isSelecting = list.classList.toggle("selecting");
    selectButton.setAttribute("aria-pressed", String(isSelecting));
    selectButton.textContent = isSelecting ? "Done" : "Select";
    if (isSelecting) list.querySelector(".pick")?.focus();
    else chosen.clear();
  }

  async function merge() {
    const merged = await mergePeople(chosen.chosen().map((id) => known.get(id)).filter(Boolean));
    if (!merged) return;
    chosen.clear();
    if (list.classList.contains("selecting")) select();
    selectButton.focus();
  }

  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(people.restart, TYPING_MS);
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return { node, selectButton, refresh, isEmpty: () => isEmpty };
}

function personTile({ id }, chosen) {
  const face = element("span", { class: "person-face" });
  const name = element("span", { class: "person-name" });
  const hint = element("span", { class: "hint number" });
  const link = element("a", { href: `#/people/${id}` }, face, name, hint);
  const pick = chosen.pick(id, "");
  const asked = element("a", { class: "badge number", href: `#/people/${id}/suggestions`, hidden: true });
  const node = element("li", { class: "person" }, link, asked, pick);
  let cover = null;

  function update(person) {
    const now = `${person.cover?.faceId} ${person.name}`;
    if (now !== cover) face.replaceChildren(avatar(person));
    cover = now;
    name.textContent = person.name;
    hint.textContent = photos(person.photos);
    pick.setAttribute("aria-label", `Select ${person.name}`);
    asked.hidden = person.suggestions === 0;
    asked.textContent = count(person.suggestions);
    asked.setAttribute("aria-label", `${faces(person.suggestions)} may be ${person.name}`);
  }

  return { node, update };
}

const chosenWord = (number) => (number === 1 ? "1 person; choose another" : `${count(number)} people`);
