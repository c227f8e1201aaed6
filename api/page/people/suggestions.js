// "Is this Anna?": one face at a time, by buttons and keys.

import { queried } from "/page/api.js";
import { element, setOptionalText, setText } from "/page/dom.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { onKeys } from "/page/parts/keys.js";
import { assigningLine } from "/page/people/assigning.js";
import { suggestionCard } from "/page/people/suggestion_face.js";
import { SuggestionQueue } from "/page/people/suggestion_queue.js";
import { backLink } from "/page/scroll.js";
import { count } from "/page/words.js";

export async function suggestionsView(main, { query, signal, mayChange, announce, title }) {
  const card = suggestionCard(signal);
  const left = element("p", { class: "hint number" });
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const done = element("div", { class: "card empty", hidden: true }, ...nothingToAsk());
  const queue = new SuggestionQueue(queried("/suggestions", { personId: query.get("personId") }), signal, {
    onChange: show, onTrouble: (error) => setOptionalText(trouble, error.message),
  });
  const buttons = {
    no: answerButton("No", "N", () => answer(false)),
    skip: answerButton("Skip", "S", () => queue.skip()),
    yes: answerButton("Yes", "Y", () => answer(true), "primary"),
    undo: answerButton("Undo", "Z", () => queue.undo(), "link"),
  };
  const shown = mayChange ? Object.values(buttons) : [buttons.skip];
  const bar = element("div", { class: "answers", role: "group", "aria-label": "Your answer", hidden: true }, ...shown);
  let asked = "";

  function answer(isYes) {
    setOptionalText(trouble, null);
    queue.answer(isYes);
  }

  function show() {
    const { current } = queue;
    const isOver = queue.isRead && !current;
    card.node.hidden = !current;
    done.hidden = !isOver;
    bar.hidden = !current && !queue.mayUndo;
    for (const name of ["no", "skip", "yes"]) buttons[name].hidden = !current;
    buttons.undo.disabled = !queue.mayUndo;
    if (current) ask(current);
    else if (isOver) setText(left, "");
    if (!isOver || !bar.contains(document.activeElement)) return;
    (queue.mayUndo ? buttons.undo : done.querySelector("a")).focus();
  }

  function ask(current) {
    card.show(current);
    card.prefetch(queue.ahead);
    setText(left, leftWord(queue, current.person));
    const now = `${current.face.id} ${current.person.id}`;
    if (now !== asked && asked) announce(`Is this ${current.person.name}?`);
    asked = now;
  }

  title("Suggestions");
  const refresh = () => queue.refresh().catch((error) => signal.aborted || setOptionalText(trouble, error.message));
  const assigning = assigningLine({ signal, onEnded: refresh });
  main.append(element(
    "div", { class: "asking" },
    backLink("#/people", "People"),
    element("header", { class: "view-head" }, element("h1", {}, "Suggestions"), left),
    ...assigning.nodes, trouble, card.node, done, bar,
  ));
  onPeopleChanged(signal, ({ id, undoneAt }) => undoneAt && queue.takenBack(id));
  onKeys(signal, { s: () => queue.skip(), ArrowRight: () => queue.skip() });
  if (mayChange) onKeys(signal, { y: () => answer(true), n: () => answer(false), z: () => queue.undo() });
  await refresh();
  if (queue.current && mayChange) buttons.yes.focus({ preventScroll: true });
}

function answerButton(label, key, does, classes = "") {
  const onceHeld = (event) => event.repeat && event.key === "Enter" && event.preventDefault(); // as by its letter
  return element(
    "button", { type: "button", class: classes, "aria-keyshortcuts": key, onclick: does, onkeydown: onceHeld },
    label, element("kbd", { "aria-hidden": "true" }, key),
  );
}

function leftWord(queue, person) {
  const all = `${count(queue.count)}${queue.hasMore ? "+" : ""}`;
  const own = queue.countFor(person);
  return own === queue.count && !queue.hasMore ? `${all} left` : `${count(own)} for ${person.name}, ${all} in all`;
}

function nothingToAsk() {
  return [
    element("h2", {}, "Nothing to ask"),
    element("p", {}, "Every face that looks like somebody you know has been answered. Naming more groups finds more."),
    element("a", { class: "button primary", href: "#/people" }, "Back to people"),
  ];
}
