// All faces of a group that has no name: to look through, to name, to take out what does not belong.

import { get, post } from "/page/api.js";
import { element, setOptionalText, setText } from "/page/dom.js";
import { change, onPeopleChanged } from "/page/parts/changes.js";
import { idOrName, personField } from "/page/parts/combobox.js";
import { faceList } from "/page/parts/face_list.js";
import { selection } from "/page/parts/selection.js";
import { backLink } from "/page/scroll.js";
import { faces } from "/page/words.js";

const NONE = "Nobody is in this group any more: the faces have names, or were grouped anew.";

export async function groupView(main, { parameters: [id], signal, mayChange, title }) {
  const heading = element("h1", {}, "Who is this?");
  const size = element("p", { class: "hint" });
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const whole = personField({
    label: "Name of this person", placeholder: "Name all of them", signal,
    onChoose: (person) => act(() => post(`/clusters/${id}/name`, idOrName(person)), leave),
  });
  const some = personField({
    label: "Whose faces the chosen ones are", placeholder: "These are…", signal,
    onChoose: (person) => act(() => post("/faces/assign", { faceIds: chosen.chosen(), ...idOrName(person) })),
  });
  const ignore = element("button", { type: "button", onclick: () => (
    act(() => post("/faces/ignore", { faceIds: chosen.chosen() }))) }, "Ignore");
  const dismiss = element("button", { type: "button", onclick: () => (
    act(() => post(`/clusters/${id}/dismiss`), leave)) }, "Not a person I want");
  const chosen = selection({ word: (number) => `${faces(number)} chosen`, actions: [some.node, ignore] });
  const list = faceList({
    path: () => `/clusters/${id}/faces`, label: "Faces of this group", word: () => "Unknown face", signal,
    chosen: mayChange ? chosen : undefined,
  });

  async function act(ask, then = refresh) {
    setOptionalText(trouble, null);
    try {
      await change(ask);
      some.clear();
      chosen.clear();
      await then();
    } catch (error) {
      if (!signal.aborted) setOptionalText(trouble, error.message);
    }
  }

  async function refresh() {
    try {
      const cluster = await get(`/clusters/${id}`, signal);
      setText(size, cluster.size ? faces(cluster.size) : NONE);
      naming.hidden = cluster.size === 0;
    } catch (error) {
      if (signal.aborted || error.status !== 404) return;
      setText(size, NONE);
      naming.hidden = true;
    }
    if (!naming.hidden) await list.refresh();
    else list.nodes.forEach((node) => node.remove());
  }

  const naming = element("div", { class: "buttons naming" }, whole.node, dismiss);

  title("Who is this?");
  main.append(
    backLink("#/people", "People"),
    element("header", { class: "view-head" }, element("div", {}, heading, size),
      mayChange ? naming : null),
    trouble, ...list.nodes, chosen.node,
  );
  onPeopleChanged(signal, ({ undoneAt }) => undoneAt && refresh());
  return refresh();
}

function leave() {
  location.hash = "#/people";
}
