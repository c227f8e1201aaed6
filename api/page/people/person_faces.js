// The faces somebody was given: those that are not theirs are taken out here, and the best one made the cover.

import { patch, post } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { acting } from "/page/parts/acting.js";
import { change, tellViews } from "/page/parts/changes.js";
import { idOrName, personField } from "/page/parts/combobox.js";
import { faceList } from "/page/parts/face_list.js";
import { selection } from "/page/parts/selection.js";
import { toast } from "/page/parts/toast.js";
import { faces } from "/page/words.js";

export function personFaces(person, { signal, mayChange, refresh: refreshAll }) {
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const hint = element("p", { class: "hint" }, "Choose the faces that are wrong, or the one that shows them best.");
  const wrong = element("button", { type: "button", class: "primary", onclick: () => (
    act(() => change(() => post("/faces/unassign", { faceIds: chosen.chosen() })))) }, `Not ${person.name}`);
  const cover = element("button", { type: "button", onclick: () => act(makeCover) }, "Use as cover");
  const others = personField({
    label: "Whose faces these are", placeholder: "They are…", signal, without: () => [person.id],
    onChoose: (other) => (
      act(() => change(() => post("/faces/assign", { faceIds: chosen.chosen(), ...idOrName(other) })))),
  });
  const chosen = selection({
    word: (number) => faces(number), actions: [wrong, cover, others.node],
    onChange: (ids) => { cover.hidden = ids.size !== 1; },
  });
  const act = acting({
    signal,
    onDone: () => {
      others.clear();
      chosen.clear();
    },
    onTrouble: (error) => setOptionalText(trouble, error?.message),
  });
  const list = faceList({
    path: () => `/persons/${person.id}/faces`, label: `Faces of ${person.name}`, signal,
    chosen: mayChange ? chosen : undefined,
  });

  async function makeCover() {
    await patch(`/persons/${person.id}`, { coverFaceId: chosen.chosen()[0] });
    toast(`This face stands for ${person.name} now.`);
    await refreshAll();
    tellViews({});
  }

  function refresh(now) {
    wrong.textContent = `Not ${now.name}`;
    return list.refresh();
  }

  return { nodes: [...(mayChange ? [hint] : []), trouble, ...list.nodes, chosen.node], refresh };
}
