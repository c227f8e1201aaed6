// What looking for faces has found.

import { get } from "/page/api.js";
import { element } from "/page/dom.js";
import { count } from "/page/words.js";

const FOUND = [
  ["facesDetected", "faces found"],
  ["facesAssignedToPersons", "assigned to people"],
  ["suggestionsCreated", "suggestions"],
  ["clustersCreated", "new groups"],
];

/** The card, hidden until face detection is completed. */
export function faceCard({ sessionId, signal }) {
  const numbers = element("dl", { class: "numbers" });
  const text = "Each new group holds the faces of one person, who has no name yet. ";
  const people = element("a", { href: "#/people" }, "Say who they are");
  const groups = element("p", { class: "hint", hidden: true }, text, people);
  const node = element(
    "section", { class: "card", hidden: true, "aria-label": "Faces" }, element("h2", {}, "Faces"), numbers, groups,
  );

  /** Read it again. Raises what the client raises. */
  async function refresh() {
    const found = await get(`/face-sessions/${sessionId}`, signal);
    numbers.replaceChildren(...FOUND.map(([name, label]) => (
      element("div", {}, element("dd", {}, count(found[name])), element("dt", {}, label)))));
    groups.hidden = found.clustersCreated === 0;
    node.hidden = false;
  }

  return { node, refresh };
}
