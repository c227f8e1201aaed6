// Whatever is done to people and faces goes through here: it is told, it can be taken back, and views hear of it.

import { get, post } from "/page/api.js";
import { toast } from "/page/parts/toast.js";

const CHANGED = "people-changed";
const OF_FACES = ["assign", "unassign", "ignore", "accept", "reject"]; // of no face they are nothing

/** Do it (`ask` fulfils with the change that the server made of it), and offer to undo it. Raises what `ask` raises. */
export async function change(ask) {
  const made = await ask();
  offerUndo(made);
  tellViews(made);
  return made;
}

/** Take a change back; fulfils with the change as it is then. */
export async function undoChange({ id }) {
  const undone = await post(`/changes/${id}/undo`);
  tellViews(undone);
  return undone;
}

/** The latest change of a kind to a person, for what answers with the person itself. */
export async function latestChange(kind, personId) {
  const { items } = await get("/changes?limit=20");
  return items.find((one) => one.kind === kind && one.person?.id === personId && !one.undoneAt) ?? null;
}

/** Say that it was done, and how to take it back. */
export function offerUndo(made) {
  toast(made.sentence, changedNothing(made) ? null : async () => (await undoChange(made)).sentence);
}

/** Whether it was so already, as somebody else was quicker. */
export const changedNothing = ({ kind, faces }) => faces === 0 && OF_FACES.includes(kind);

/** Call `heard` whenever somebody here has changed something, until the signal aborts. */
export function onPeopleChanged(signal, heard) {
  document.addEventListener(CHANGED, (event) => heard(event.detail), { signal });
}

/** Have views hear of a change that was made otherwise. */
export function tellViews(made) {
  document.dispatchEvent(new CustomEvent(CHANGED, { detail: made }));
}
