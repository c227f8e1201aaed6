// The invitation to say whether faces are whom they seem to be.

import { get } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { facePicture } from "/page/parts/face.js";
import { count } from "/page/words.js";

const SHOWN = 5;

/** The card, hidden while there is nothing to ask. */
export function suggestionsCard({ signal, mayChange }) {
  const samples = element("div", { class: "overlapping", "aria-hidden": "true" });
  const question = element("p");
  const link = element("a", { class: "button primary", href: "#/people/suggestions" }, mayChange ? "Answer" : "Look");
  const node = element(
    "section", { class: "card invitation", "aria-label": "Suggestions", hidden: true }, samples, question, link,
  );
  let told = "";

  /** `people` are all that are known, or the first of them where there are more. */
  async function update(people, hasMore) {
    const asked = people.filter(({ suggestions }) => suggestions > 0);
    if (!asked.length && !hasMore) node.hidden = true;
    else await ask(asked, hasMore);
  }

  async function ask(asked, hasMore) {
    const page = await get(`/suggestions?limit=${SHOWN}`, signal).catch(() => null);
    if (!page) return;
    node.hidden = page.items.length === 0;
    const sampled = page.items.map(({ person }) => ({ name: person.name, suggestions: 1 }));
    setText(question, asked.length ? wordOf(asked, hasMore) : wordOf(sampled, page.nextPageToken));
    const faces = page.items.map(({ face }) => face);
    const now = faces.map(({ id }) => id).join();
    if (now !== told) samples.replaceChildren(...faces.map((face) => facePicture(face)));
    told = now;
  }

  return { node, update };
}

function wordOf(people, hasMore) {
  const number = people.reduce((so, { suggestions }) => so + suggestions, 0);
  const names = [...new Set(people.map(({ name }) => name))];
  const whom = names.length > 2 ? `${names.slice(0, 2).join(", ")} or others` : names.join(" or ");
  return `${count(number)}${hasMore ? "+" : ""} ${number === 1 ? "face looks" : "faces look"} like ${whom}.`;
}
