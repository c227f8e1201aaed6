// All faces of a group that has no name: to look through, to name, to take out what does not belong.

import { get, post } from "/page/api.js";
import { element, setOptionalText, setText } from "/page/dom.js";
import { acting } from "/page/parts/acting.js";
import { change, onPeopleChanged } from "/page/parts/changes.js";
import { idOrName, personField } from "/page/parts/combobox.js";
import { faceList } from "/page/parts/face_list.js";
import { selection } from "/page/parts/selection.js";
import { backLink, leaveFor } from "/page/scroll.js";
import { faces } from "/page/words.js";

const NONE = "Nobody is in this group any more: the faces have names, or were grouped anew.";

export async function groupView(main, { parameters: [id], signal, mayChange, title }) {
  const heading = element("h1", {}, "Who is this?");
  const size = element("p", { class: "hint" });
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const whole = personField({
    label: "Name of this person", placeholder: "Name all of them", signal,
    onChoose: (person) => make(() => post(`/clusters/${id}/name`, idOrName(person)), leave),
  });
  const some = personField({
    label: "Whose faces the chosen ones are", placeholder: "These are…", signal,
    onChoose: (person) => make(() => post("/faces/assign", { faceIds: chosen.chosen(), ...idOrName(person) })),
  });
  const ignore = element("button", { type: "button", onclick: () => (
    make(() => post("/faces/ignore", { faceIds: chosen.chosen() }))) }, "Ignore");
  const dismiss = element("button", { type: "button", onclick: () => (
    make(() => post(`/clusters/${id}/dismiss`), leave)) }, "Not a person I want");
  const chosen = selection({ word: (number) => `${faces(number)} chosen`, actions: [some.node, ignore] });
  const list = faceList({
    path: () => `/clusters/${id}/faces`, label: "Faces of this group", word: () => "Unknown face", signal,
    chosen: mayChange ? chosen : undefined,
  });

  const naming = element("div", { class: "buttons naming", hidden: true }, whole.node, dismiss);
  const body = element("div", { class: "person-body", hidden: true }, ...list.nodes);
  const tell = (error) => setOptionalText(trouble, error?.message);
  const act = acting({
    signal, onTrouble: tell,
    onDone: () => {
      some.clear();
      chosen.clear();
      return refresh();
    },
  });
  const make = (ask, then) => act(() => change(ask), then);

  async function refresh() {
    try {
      show(await get(`/clusters/${id}`, signal));
      tell(null);
      if (!body.hidden) await list.refresh();
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      if (error.status === 404 || error.status === 422) show({ size: 0 }); // 422: a number that no group can have
      else tell(error);
    }
  }

  function show(cluster) {
    setText(size, cluster.size ? faces(cluster.size) : NONE);
    naming.hidden = body.hidden = cluster.size === 0;
  }

  title("Who is this?");
  main.append(
    backLink("#/people", "People"),
    element("header", { class: "view-head" }, element("div", {}, heading, size),
      mayChange ? naming : null),
    trouble, body, chosen.node,
  );
  onPeopleChanged(signal, ({ undoneAt }) => undoneAt && refresh());
  return refresh();
}

const leave = () => leaveFor("#/people"); // here is nothing left to see
