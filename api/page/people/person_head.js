// Who it is: face, name, numbers, what can be done.

import { queried, remove } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { change } from "/page/parts/changes.js";
import { avatar } from "/page/parts/face.js";
import { personName } from "/page/people/person_name.js";
import { leaveFor } from "/page/scroll.js";
import { count, faces, photos } from "/page/words.js";

/** `tabs` are the parts of the page by name, each with its `label`; `tab` is the one that is shown. */
export function personHead(id, { tabs, tab }, context) {
  const face = element("div", { class: "person-cover" });
  const name = personName(id, context);
  const numbers = element("p", { class: "hint number" });
  const trouble = element("p", { class: "field-error", role: "alert", hidden: true });
  const find = element("a", { class: "button", href: queried("#/photos", { personId: id }) }, "Search these photos");
  const forget = element("button", { type: "button", class: "danger", onclick: deletePerson }, "Delete");
  const actions = element("div", { class: "buttons" }, find, ...(context.mayChange ? [name.button, forget] : []));
  const links = Object.entries(tabs).map(([part, { label }]) => tabLink(id, part, label, tab));
  const node = element(
    "header", { class: "person-head", hidden: true }, face,
    element("div", { class: "person-who" }, name.node, numbers, actions, trouble),
    element(
      "nav", { class: "tabs", "aria-label": "Of this person" }, element("ul", {}, ...links.map((one) => one.node)),
    ),
  );
  let cover = "";

  // Nothing is lost by it, so nothing is asked: the toast takes it back.
  async function deletePerson() {
    forget.disabled = true;
    try {
      await change(() => remove(`/persons/${id}`));
      leaveFor("#/people");
    } catch (error) {
      forget.disabled = false;
      trouble.hidden = false;
      setText(trouble, error.message);
    }
  }

  function update(person) {
    const now = `${person.cover?.faceId} ${person.name}`;
    if (now !== cover) face.replaceChildren(avatar(person, { side: 320 }));
    cover = now;
    node.hidden = false;
    name.update(person);
    setText(numbers, `${photos(person.photos)}, ${faces(person.faces)}`);
    links.forEach((one) => one.update(person));
  }

  return { node, update };
}

function tabLink(id, part, label, current) {
  const number = element("span", { class: "badge number", hidden: true });
  const href = part === "photos" ? `#/people/${id}` : `#/people/${id}/${part}`;
  const link = element("a", { href, "aria-current": part === current && "page" }, label, number);

  function update({ suggestions }) {
    if (part !== "suggestions") return;
    number.hidden = suggestions === 0;
    setText(number, count(suggestions));
  }

  return { node: element("li", {}, link), update };
}
