// A form's fields with their labels, and errors beside the field they name.

import { element, setOptionalText } from "/page/dom.js";

/** A labelled control; `name` is the API's name of the field. */
export function field(name, label, control, hint = null) {
  const id = `field-${name.replaceAll(".", "-")}`;
  const error = element("p", { id: `${id}-error`, class: "field-error", hidden: true });
  control.id = id;
  control.setAttribute("aria-describedby", hint ? `${id}-hint ${id}-error` : `${id}-error`);
  const node = element(
    "div", { class: "field" },
    element("label", { for: id }, label), control,
    hint && element("p", { id: `${id}-hint`, class: "hint" }, hint), error,
  );
  return { name, control, node, say: (message) => sayBeside(control, error, message) };
}

function sayBeside(control, error, message) {
  setOptionalText(error, message);
  if (message) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** Say each of the problem's errors beside its field and go to the first; returns what no field is at fault for. */
export function sayErrors(fields, problem) {
  fields.forEach((one) => one.say(null));
  const unplaced = [];
  for (const { field: name, message } of problem.errors ?? []) {
    const at = fields.find((one) => name === one.name || name.startsWith(`${one.name}.`));
    if (at) at.say(message);
    else unplaced.push(message);
  }
  const first = fields.find((one) => one.control.hasAttribute("aria-invalid"));
  first?.control.closest("details")?.setAttribute("open", "");
  first?.control.focus();
  return first && !unplaced.length ? null : unplaced.join(" ") || problem.message;
}
