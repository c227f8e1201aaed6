// Several people who are one: choosing whose name stays.

import { post } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { change } from "/page/parts/changes.js";
import { avatar } from "/page/parts/face.js";
import { photos } from "/page/words.js";

/** Ask whose name stays, and make them one; fulfils with whether that was done. */
export function mergePeople(people) {
  return new Promise((resolve) => {
    const most = people.reduce((so, one) => (one.faces > so.faces ? one : so));
    const choices = people.map((person) => choiceOf(person, person === most));
    const refused = element("p", { class: "notice danger", role: "alert", hidden: true });
    const merge = element("button", { class: "primary" }, "Merge");
    const dialog = element(
      "dialog", { "aria-labelledby": "merge-question", class: "merge" },
      element("form", { method: "dialog" },
        element("h2", { id: "merge-question" }, "They are one person. Whose name stays?"),
        element("div", { class: "choices", role: "radiogroup", "aria-labelledby": "merge-question" }, ...choices),
        refused,
        element("div", { class: "buttons" },
          element("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"), merge)),
    );
    dialog.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      merge.disabled = true;
      try {
        const into = Number(new FormData(event.target).get("into"));
        await change(() => post(`/persons/${into}/merge`, { personIds: idsBut(people, into) }));
        dialog.close("merged");
      } catch (error) {
        merge.disabled = false;
        setOptionalText(refused, error.message);
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "merged");
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("input:checked").focus();
  });
}

function choiceOf(person, isChosen) {
  return element(
    "label", { class: "choice" },
    element("input", { type: "radio", name: "into", value: person.id, checked: isChosen }),
    avatar(person), element("span", { class: "option-name" }, person.name),
    element("span", { class: "hint" }, photos(person.photos)),
  );
}

const idsBut = (people, into) => people.map(({ id }) => id).filter((id) => id !== into);
