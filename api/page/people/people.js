// Everybody who has a name, and the groups of faces that have none yet.

import { get } from "/page/api.js";
import { element } from "/page/dom.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { lookAgain } from "/page/parts/looking_again.js";
import { assigningLine } from "/page/people/assigning.js";
import { namedPeople } from "/page/people/named.js";
import { suggestionsCard } from "/page/people/suggestions_card.js";
import { unknownGroups } from "/page/people/unknown.js";
import { isActive } from "/page/words.js";

export function peopleView(main, context) {
  const { signal, title } = context;
  const suggestions = suggestionsCard(context);
  const named = namedPeople(context, suggestions.update);
  const unknown = unknownGroups(context);
  const nobody = element("div", { class: "card empty", hidden: true });

  async function refresh() {
    const areKnown = await Promise.all([named.refresh(), unknown.refresh()]);
    const isEmpty = areKnown.every(Boolean) && named.isEmpty() && unknown.isEmpty();
    nobody.hidden = !isEmpty;
    unknown.node.hidden = isEmpty;
    if (isEmpty) await sayWhatToDo(nobody, context);
  }

  const history = element("a", { class: "button", href: "#/people/history" }, "History");

  title("People");
  const assigning = assigningLine({ signal, onEnded: refresh });
  const head = element(
    "header", { class: "view-head" }, element("h1", {}, "People"),
    element("div", { class: "buttons" }, named.selectButton, history),
  );
  main.append(head, ...assigning.nodes, suggestions.node, nobody, named.node, unknown.node);
  onPeopleChanged(signal, refresh);
  lookAgain(signal, refresh);
  return refresh();
}

async function sayWhatToDo(node, { signal, mayChange }) {
  const { items } = await get("/training/sessions?limit=5", signal).catch(() => ({ items: [] }));
  const going = items.find((session) => isActive(session.overallStatus));
  const begin = mayChange ? element("a", { class: "button primary", href: "#/new" }, "New session") : "";
  const watch = going && element("a", { class: "button", href: `#/sessions/${going.id}` }, "Watch it");
  node.replaceChildren(
    element("h2", {}, "Nobody here yet"),
    element("p", {}, going
      ? "A session is at work. The faces it finds appear here once they are grouped by person."
      : "A session finds the faces in your photos and groups them by person. Then you say who they are."),
    watch ?? begin,
  );
}
