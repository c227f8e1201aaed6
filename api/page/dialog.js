// A question that has to be answered before something is done that cannot be undone.

import { element } from "/page/dom.js";

/** True once the answer is yes; Esc and the other button say no. */
export function confirmed({ question, consequence, yes, no }) {
  return new Promise((resolve) => {
    const close = (answer) => () => dialog.close(answer);
    const dialog = element(
      "dialog", { "aria-labelledby": "dialog-question" },
      element("h2", { id: "dialog-question" }, question),
      element("p", {}, consequence),
      element(
        "div", { class: "buttons" },
        element("button", { type: "button", onclick: close(""), autofocus: true }, no),
        element("button", { type: "button", class: "danger", onclick: close("yes") }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
