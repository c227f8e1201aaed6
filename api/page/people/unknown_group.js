// One group of faces without a name: what they look like, and a field for who it is.

import { post } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { acting } from "/page/parts/acting.js";
import { change } from "/page/parts/changes.js";
import { idOrName, personField } from "/page/parts/combobox.js";
import { facePicture } from "/page/parts/face.js";
import { faces } from "/page/words.js";

const SAMPLES = 5;
const READ_MS = 6_000; // so long it is said that somebody else was quicker

/** The card. `onLeft(node)` is told when the group got a name, or was dismissed; `onGone()` when it is no more. */
export function unknownGroup({ id }, { signal, mayChange, onLeft, onGone }) {
  const large = element("a", { class: "group-face", href: `#/people/groups/${id}` });
  const samples = element("div", { class: "samples" });
  const size = element("a", { class: "group-size number", href: `#/people/groups/${id}`, tabindex: "-1" });
  const field = personField({
    label: "Name of this person", placeholder: "Who is this?", signal,
    onChoose: (person) => make(() => post(`/clusters/${id}/name`, idOrName(person))),
  });
  const dismiss = element("button", { type: "button", class: "link quiet", onclick: () => (
    make(() => post(`/clusters/${id}/dismiss`))) }, "Not a person I want");
  const side = element("div", { class: "group-side" }, size, samples, ...(mayChange ? [field.node, dismiss] : []));
  const node = element("li", { class: "card group" }, large, side);
  const act = acting({ signal, onDone: () => onLeft(node), onTrouble });
  let told = "";

  const make = (ask) => act(() => {
    node.classList.add("busy");
    return change(ask).finally(() => node.classList.remove("busy"));
  });

  function onTrouble(error) {
    field.say(error?.message);
    if (!error) return;
    field.input.focus();
    if (error.status === 404) setTimeout(() => signal.aborted || onGone(), READ_MS);
  }

  function update({ size: number, representative, samples: shown }) {
    setText(size, faces(number));
    node.setAttribute("aria-label", `Group of ${faces(number)}`);
    large.setAttribute("aria-label", `See all ${faces(number)}`);
    field.input.setAttribute("aria-label", `Name of this person, ${faces(number)}`);
    const now = [representative, ...shown].map((face) => face?.id).join();
    if (now === told) return;
    told = now;
    large.replaceChildren(...(representative ? [facePicture(representative, { side: 320 })] : []));
    const others = shown.filter((face) => face.id !== representative?.id).slice(0, SAMPLES);
    samples.replaceChildren(...others.map((face) => facePicture(face)));
  }

  return { node, update };
}
