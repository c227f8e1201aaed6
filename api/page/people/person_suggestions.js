// All faces that look like somebody, to be answered at once.

import { post, queried } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { acting } from "/page/parts/acting.js";
import { change } from "/page/parts/changes.js";
import { faceList } from "/page/parts/face_list.js";
import { selection } from "/page/parts/selection.js";
import { faces } from "/page/words.js";

const MOST = 1_000; // that the API takes at once

export function personSuggestions(person, { signal, mayChange }) {
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const none = element("p", { class: "hint", hidden: true }, "Nothing to ask. Naming and answering finds more.");
  const question = element("h2", {}, `Which of these are ${person.name}?`);
  const all = element("button", { type: "button", onclick: () => chosen.chooseAll() }, "Choose all");
  const address = queried("#/people/suggestions", { personId: person.id });
  const oneByOne = element("a", { class: "button", href: address }, "One at a time");
  const head = element("div", { class: "view-head", hidden: true }, question,
    mayChange ? element("div", { class: "buttons" }, all, oneByOne) : null);
  const yes = answerButton(`Yes, ${person.name}`, "primary", () => act(() => answer("accept")));
  const no = answerButton(`Not ${person.name}`, "", () => act(() => answer("reject")));
  const chosen = selection({ word: (number) => faces(number), actions: [yes, no] });
  const act = acting({
    signal, onDone: () => chosen.clear(), onTrouble: (error) => setOptionalText(trouble, error?.message),
  });
  const list = faceList({
    path: () => queried("/suggestions", { personId: person.id }), label: `Suggestions for ${person.name}`, signal,
    faceOf: ({ face }) => face, word: ({ similarity }) => `Face, ${Math.round(similarity * 100)} % alike`,
    chosen: mayChange ? chosen : undefined,
    onRead: (items) => {
      none.hidden = items.length > 0;
      head.hidden = items.length === 0;
    },
  });

  function answer(verb) {
    const suggestions = chosen.chosen().slice(0, MOST).map((faceId) => ({ faceId, personId: person.id }));
    return change(() => post(`/suggestions/${verb}`, { suggestions }));
  }

  return { nodes: [none, head, trouble, ...list.nodes, chosen.node], refresh: list.refresh };
}

const answerButton = (label, classes, onclick) => element("button", { type: "button", class: classes, onclick }, label);
