// A person's name, which can be changed where it stands.

import { get, patch, post } from "/page/api.js";
import { element, setOptionalText, setText } from "/page/dom.js";
import { change, latestChange, offerUndo, tellViews } from "/page/parts/changes.js";
import { goInPlace } from "/page/scroll.js";

/** The heading, and the button that turns it into a field. */
export function personName(id, { signal }) {
  const heading = element("h1");
  const input = element("input", {
    type: "text", "aria-label": "Name", maxlength: "200", autocomplete: "off", spellcheck: "false",
  });
  const save = element("button", { class: "primary" }, "Save");
  const cancel = element("button", { type: "button", onclick: () => edit(false) }, "Cancel");
  const error = element("p", { class: "field-error", role: "alert", hidden: true });
  const merge = element("button", { type: "button", hidden: true });
  const form = element("form", { class: "rename", novalidate: true, hidden: true }, input, save, cancel, error, merge);
  const button = element("button", { type: "button", onclick: () => edit(true) }, "Rename");
  let person = null;

  function edit(isEditing) {
    heading.hidden = button.hidden = isEditing;
    form.hidden = !isEditing;
    refuse(null);
    if (isEditing) {
      input.value = person.name;
      input.select();
    } else {
      button.focus();
    }
  }

  function refuse(problem, other = null) {
    setOptionalText(error, problem);
    merge.hidden = !other;
    if (!other) return;
    setText(merge, `They are the same: merge into ${other.name}`);
    merge.onclick = () => mergeInto(other);
  }

  async function rename() {
    const name = input.value.trim();
    if (!name) return refuse("Type a name first.");
    if (name === person.name) return edit(false);
    try {
      update(await patch(`/persons/${id}`, { name }));
      edit(false);
      const made = await latestChange("rename", Number(id));
      if (made) offerUndo(made);
      return tellViews(made ?? {});
    } catch (problem) {
      if (signal.aborted) return undefined;
      return refuse(problem.message, await holderOf(problem, signal));
    }
  }

  async function mergeInto(other) {
    try {
      await change(() => post(`/persons/${other.id}/merge`, { personIds: [Number(id)] }));
      goInPlace(`#/people/${other.id}`);
    } catch (problem) {
      refuse(problem.message);
    }
  }

  function update(now) {
    person = now;
    setText(heading, now.name);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    rename();
  });
  form.addEventListener("keydown", (event) => event.key === "Escape" && edit(false));
  return { node: element("div", {}, heading, form), button, update };
}

/** Who has the name, where that is why it was refused and they can be read. */
async function holderOf({ personId }, signal) {
  return personId && get(`/persons/${personId}`, signal).catch(() => null);
}
