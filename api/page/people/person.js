// One person: photos, faces, and what is to be asked about them.

import { get } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { lookAgain } from "/page/parts/looking_again.js";
import { assigningLine } from "/page/people/assigning.js";
import { personFaces } from "/page/people/person_faces.js";
import { personHead } from "/page/people/person_head.js";
import { personPhotos } from "/page/people/person_photos.js";
import { personSuggestions } from "/page/people/person_suggestions.js";
import { backLink } from "/page/scroll.js";

/** The parts of somebody's page, by what their address ends with; the first is there without that. */
export const TABS = {
  photos: { label: "Photos", make: personPhotos },
  faces: { label: "Faces", make: personFaces },
  suggestions: { label: "Suggestions", make: personSuggestions },
};

export async function personView(main, context) {
  const { signal, title, parameters: [id, tab = "photos"] } = context;
  const head = personHead(id, { tabs: TABS, tab }, context);
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const body = element("div", { class: "person-body" });
  let part = null;
  let shown = "";

  async function refresh() {
    try {
      const person = await get(`/persons/${id}`, signal);
      title(person.name);
      setOptionalText(trouble, null);
      head.update(person);
      part ??= begin(person);
      shown = (await part.refresh(person)) ? keyOf(person) : "";
    } catch (error) {
      shown = "";
      if (signal.aborted) return;
      if (error.status === 404 || error.status === 422) sayGone(main, title);
      else if (error.status !== 401) setOptionalText(trouble, error.message);
    }
  }

  // A long list is not read again while nothing has come of it.
  async function look() {
    const person = await get(`/persons/${id}`, signal).catch(() => null);
    if (!person || keyOf(person) !== shown) await refresh();
  }

  function begin(person) {
    const made = TABS[tab].make(person, { ...context, refresh });
    body.append(...made.nodes);
    return made;
  }

  const assigning = assigningLine({ signal, onEnded: refresh });
  main.append(
    backLink("#/people", "People"),
    head.node, ...assigning.nodes, trouble, body,
  );
  onPeopleChanged(signal, refresh);
  lookAgain(signal, look);
  return refresh();
}

const keyOf = ({ name, photos, faces, suggestions }) => [name, photos, faces, suggestions].join();

function sayGone(main, title) {
  title("Nobody");
  main.replaceChildren(
    element("h1", {}, "There is no such person"),
    element("p", {}, "They were deleted, or made one with somebody else. ",
      element("a", { href: "#/people/history" }, "See what was done"), ", or ",
      element("a", { href: "#/people" }, "go to people"), "."),
  );
}
