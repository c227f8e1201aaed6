// Choosing a person by typing: a text field with a list below it (the ARIA combobox pattern).

import { get, queried } from "/page/api.js";
import { element } from "/page/dom.js";
import { avatar } from "/page/parts/face.js";
import { photos } from "/page/words.js";

const TYPING_MS = 90;
const SHOWN = 6;
let made = 0;

/**
 * `onChoose` gets a person, or `{ name }` of one who is not there yet where `mayCreate`. Ids in `without` are left
 * out. `node` is the field; `clear()` empties it, `say(problem)` tells what was wrong.
 */
export function personField({ label, placeholder, signal, onChoose, mayCreate = true, without = () => [] }) {
  const id = `people-${++made}`;
  const input = element("input", {
    type: "text", role: "combobox", "aria-label": label, "aria-expanded": "false", "aria-controls": id,
    "aria-autocomplete": "list", "aria-describedby": `${id}-error`, placeholder, autocomplete: "off",
    autocapitalize: "words", spellcheck: "false", maxlength: "200", enterkeyhint: "done",
  });
  const list = element("ul", { id, class: "options", role: "listbox", "aria-label": "People", hidden: true });
  const error = element("p", { id: `${id}-error`, class: "field-error", role: "alert", hidden: true });
  const node = element("div", { class: "combobox" }, input, list, error);
  const state = { options: [], active: -1, timer: 0, asked: 0 };

  function search() {
    clearTimeout(state.timer);
    state.timer = setTimeout(read, TYPING_MS);
  }

  async function read() {
    const asked = ++state.asked;
    const typed = input.value.trim();
    const found = await peopleNamed(typed, signal, without());
    if (!found || asked !== state.asked || document.activeElement !== input) return;
    show(optionsFor(typed, found, mayCreate));
  }

  function show(options) {
    state.options = options;
    list.replaceChildren(...options.map((option, i) => optionItem(option, `${id}-${i}`, () => choose(option))));
    open(options.length > 0);
    activate(-1);
  }

  function open(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) list.scrollIntoView({ block: "nearest" });
  }

  function activate(i) {
    state.active = i;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === i)));
    if (i < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${id}-${i}`);
    list.children[i]?.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    if (list.hidden) {
      read();
      return;
    }
    const length = state.options.length;
    activate(state.active < 0 ? (by > 0 ? 0 : length - 1) : (state.active + by + length) % length);
  }

  // Enter means what is marked in the list, else who is called just that, else somebody new.
  async function enter() {
    if (state.active >= 0) return choose(state.options[state.active]);
    const typed = input.value.trim();
    if (!typed) return undefined;
    const found = await peopleNamed(typed, signal, without());
    if (signal.aborted) return undefined;
    const same = found?.find(({ name }) => isSame(name, typed));
    if (same) return choose(same);
    if (mayCreate) return choose({ name: typed }); // where nobody could be looked up, the server does it by itself
    return found ? search() : say("People cannot be looked up just now. Press Enter to try again.");
  }

  function choose(option) {
    close();
    say(null);
    return onChoose(option.id ? option : { name: option.name });
  }

  function close() {
    clearTimeout(state.timer);
    state.asked += 1;
    open(false);
    activate(-1);
  }

  function say(problem) {
    error.hidden = !problem;
    error.textContent = problem ?? "";
    if (problem) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  input.addEventListener("input", () => {
    say(null);
    if (input.value.trim()) search();
    else close();
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const does = { ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: enter }[event.key];
    if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation(); // only the list closes, not what it stands in
      close();
    } else if (does) {
      event.preventDefault();
      does();
    }
  });
  input.addEventListener("blur", close);

  return { node, input, say, clear: () => { input.value = ""; close(); } };
}

/** Who was chosen, as the API is told: somebody known, or a name. */
export const idOrName = ({ id, name }) => (id ? { personId: id } : { name });

/** Those whose name holds what is typed, as far as they fit into a list; null when that cannot be known. */
async function peopleNamed(typed, signal, without) {
  try {
    const page = await get(queried("/persons", { query: typed, limit: SHOWN + without.length }), signal);
    return page.items.filter(({ id }) => !without.includes(id)).slice(0, SHOWN);
  } catch {
    return null; // typing goes on
  }
}

function optionsFor(typed, found, mayCreate) {
  const isNew = typed && !found.some(({ name }) => isSame(name, typed));
  return mayCreate && isNew ? [...found, { name: typed, isNew: true }] : found;
}

function optionItem(option, id, choose) {
  const item = element("li", { id, role: "option", "aria-selected": "false" }, ...optionParts(option));
  item.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  item.addEventListener("click", choose);
  return item;
}

function optionParts(option) {
  const plus = element("span", { class: "plus", "aria-hidden": "true" }, "+");
  if (option.isNew) return [plus, `New person “${option.name}”`];
  const hint = element("span", { class: "hint" }, photos(option.photos));
  return [avatar(option), element("span", { class: "option-name" }, option.name), hint];
}

const isSame = (one, other) => one.localeCompare(other, undefined, { sensitivity: "accent" }) === 0;
