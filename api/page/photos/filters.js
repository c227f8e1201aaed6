// What photos are looked for: words, people together, a category, a time, or those like another.

import { get, listPath } from "/page/api.js";
import { element } from "/page/dom.js";
import { personField } from "/page/parts/combobox.js";
import { personChips, similarChip } from "/page/photos/filter_chips.js";
import { textSearch } from "/page/photos/text_search.js";
import { isFiltered, searchOf } from "/page/photos/search_state.js";

const MOST_CATEGORIES = 200;
const TYPING_MS = 600;

/** The fields; `go(wanted, isRefined)` is called with what is looked for now. `update(search)` shows it. */
export function photoFilters({ signal, system }, go) {
  let search = null;
  const text = textSearch(system, go);
  const people = personChips(signal, (personId) => go({ personId }));
  const similar = similarChip(signal, () => go({ similarTo: null }));
  const person = personField({
    label: "With this person", placeholder: "With…", signal, mayCreate: false, without: () => search.personId,
    onChoose: ({ id }) => {
      person.clear();
      go({ personId: [...search.personId, id] });
    },
  });
  const category = element("select", { "aria-label": "Category", hidden: true, onchange: () => (
    go({ categoryId: category.value ? [Number(category.value)] : [] })) });
  const [from, to] = dateFields(signal, (takenFrom, takenTo) => go({ takenFrom, takenTo }));
  const goNowhere = () => go(searchOf(new URLSearchParams()));
  const clear = element("button", { type: "button", class: "link", onclick: goNowhere }, "Clear all");
  const node = element(
    "div", { class: "filters", role: "search", "aria-label": "Photos" }, ...text.nodes,
    element("div", { class: "filter-row" }, person.node, category,
      element("span", { class: "dates" }, from, element("span", { "aria-hidden": "true" }, "–"), to),
      people.node, similar.node, clear),
  );

  async function update(now) {
    search = now;
    text.update(now);
    people.update(now.personId);
    similar.update(now.similarTo);
    from.value = now.takenFrom ?? "";
    to.value = now.takenTo ?? "";
    clear.hidden = !isFiltered(now);
    await readCategories;
    category.value = String(now.categoryId[0] ?? "");
  }

  const readCategories = offerCategories(category, signal);
  return { node, update, clear: goNowhere };
}

/** The first and the last day, once they are typed to the end: while a year is typed, each digit makes another one. */
function dateFields(signal, onChange) {
  const fields = ["Taken from", "Taken to"].map((label) => (
    element("input", { type: "date", "aria-label": label, min: "1826-01-01", max: "9999-12-31", onchange: later })));
  let timer = 0;

  function later() {
    clearTimeout(timer);
    timer = setTimeout(tell, TYPING_MS);
  }

  function tell() {
    if (fields.every((field) => field.checkValidity())) onChange(...fields.map(({ value }) => value || null));
  }

  signal.addEventListener("abort", () => clearTimeout(timer));
  return fields;
}

async function offerCategories(select, signal) {
  const page = await get(listPath("/categories", MOST_CATEGORIES), signal).catch(() => ({ items: [] }));
  const any = { id: "", name: "Any category" };
  select.append(...[any, ...page.items].map(({ id, name }) => element("option", { value: id }, name)));
  select.hidden = page.items.length === 0;
}
