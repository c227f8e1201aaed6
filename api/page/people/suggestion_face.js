// A face beside whom it may be of, large enough to tell.

import { get, queried } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { avatar, facePicture } from "/page/parts/face.js";

const SIDE = 320;
const OTHERS = 5; // more of somebody's faces, to compare with

/** `show(suggestion)` asks about it; `prefetch(suggestions)` has their pictures ready. */
export function suggestionCard(signal) {
  const face = element("a", { class: "suggested", "aria-label": "See the whole photo" });
  const known = element("a", { class: "known" });
  const question = element("h2", { class: "question" });
  const alike = element("p", { class: "hint" });
  const others = element("div", { class: "others", "aria-hidden": "true" });
  const node = element(
    "section", { class: "card suggestion", "aria-label": "Suggestion", hidden: true },
    element("div", { class: "pair" }, face, known), others, question, alike,
  );
  const people = new Map(); // id -> Promise of the person with cover, and of more of the faces
  let shown = "";

  function show({ face: about, person, similarity }) {
    node.hidden = false;
    setText(question, `Is this ${person.name}?`);
    setText(alike, `${Math.round(similarity * 100)} % alike`);
    const now = `${about.id} ${person.id}`;
    if (now === shown) return;
    shown = now;
    face.href = `#/photos/${about.imageId}`;
    face.replaceChildren(facePicture(about, { side: SIDE }));
    showKnown(person);
  }

  async function showKnown(person) {
    if (known.dataset.person === String(person.id) && known.querySelector("img")) return;
    known.dataset.person = person.id;
    known.href = `#/people/${person.id}`;
    known.setAttribute("aria-label", person.name);
    known.replaceChildren(avatar(person));
    others.replaceChildren();
    const read = await look(person);
    if (known.dataset.person !== String(person.id)) return;
    known.replaceChildren(avatar(read, { side: SIDE }));
    others.replaceChildren(...read.others.map((one) => facePicture(one)));
  }

  function look(person) {
    if (!people.has(person.id)) people.set(person.id, readPerson(person, signal));
    const read = people.get(person.id);
    read.then(({ cover }) => cover || people.delete(person.id)); // there may be one after the next answer
    return read;
  }

  function prefetch(suggestions) {
    for (const { face: about, person } of suggestions) {
      load(about);
      look(person).then(({ cover }) => cover && load(cover));
    }
  }

  return { node, show, prefetch };
}

async function readPerson(person, signal) {
  const [read, faces] = await Promise.all([
    get(`/persons/${person.id}`, signal), get(`/persons/${person.id}/faces?limit=${OTHERS + 1}`, signal),
  ]).catch(() => [person, { items: [] }]);
  const others = faces.items.filter(({ id }) => id !== read.cover?.faceId).slice(0, OTHERS);
  return { ...read, others };
}

function load({ thumbnailUrl }) {
  new Image().src = queried(thumbnailUrl, { side: SIDE });
}
