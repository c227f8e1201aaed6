// What was done to people and faces in the last 24 hours, each with a way back.

import { element, setOptionalText, setText } from "/page/dom.js";
import { changedNothing, onPeopleChanged, undoChange } from "/page/parts/changes.js";
import { listing } from "/page/parts/listing.js";
import { toast } from "/page/parts/toast.js";
import { backLink } from "/page/scroll.js";
import { moment } from "/page/words.js";

const PAGE = 50;

export function historyView(main, { signal, mayChange, title }) {
  const list = element("ol", { class: "card changes", "aria-label": "Changes" });
  const none = element("p", { class: "hint", hidden: true });
  const changes = listing({
    path: () => "/changes", page: PAGE, list, more: "Earlier changes", signal,
    make: (change) => changeRow(change, mayChange),
    onRead: (items) => {
      list.hidden = items.length === 0;
      setOptionalText(none, items.length ? null : "Nothing was changed in the last 24 hours.");
    },
  });
  title("History");
  main.append(
    backLink("#/people", "People"),
    element("h1", {}, "History"),
    element("p", { class: "hint" }, "What was done in the last 24 hours can be undone. Faces changed since then stay."),
    none, ...changes.nodes,
  );
  onPeopleChanged(signal, changes.refresh);
  return changes.refresh();
}

function changeRow(change, mayChange) {
  const sentence = element("span", { class: "change-sentence" });
  const trouble = element("span", { class: "field-error", role: "alert", hidden: true });
  const undo = element("button", { type: "button", onclick: takeBack }, "Undo");
  const node = element("li", {}, sentence, moment(change.createdAt), mayChange ? undo : null, trouble);

  let busy = false;

  async function takeBack() {
    if (busy) return; // not switched off: that would lose the focus
    busy = true;
    setOptionalText(trouble, null);
    try {
      toast((await undoChange(change)).sentence);
    } catch (error) {
      setOptionalText(trouble, error.message);
    }
    busy = false;
  }

  function update(now) {
    setText(sentence, now.sentence);
    node.classList.toggle("undone", Boolean(now.undoneAt));
    const hadFocus = document.activeElement === undo;
    undo.hidden = changedNothing(now) || Boolean(now.undoneAt) || new Date(now.undoUntil) < new Date();
    if (hadFocus && undo.hidden) nextUndo(node)?.focus();
    undo.setAttribute("aria-label", `Undo: ${now.sentence}`);
  }

  return { node, update };
}

function nextUndo(row) {
  const left = [...row.parentElement.querySelectorAll("button:not([hidden])")];
  const isBelow = (button) => row.compareDocumentPosition(button) & Node.DOCUMENT_POSITION_FOLLOWING;
  return left.find(isBelow) ?? left.at(-1) ?? document.getElementById("main");
}
