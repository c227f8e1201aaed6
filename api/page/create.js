// A new session: which photos, under what category, with faces or without.

import { get, idempotencyKey, listPath, post } from "/page/api.js";
import { estimateLine } from "/page/create_estimate.js";
import { element, setOptionalText } from "/page/dom.js";
import { field, sayErrors } from "/page/fields.js";
import { folderBrowser } from "/page/folders.js";
import { mistakesIn, sessionRequest } from "/page/session_request.js";

const MOST_CATEGORIES = 200;

export function createView(main, { signal, system, title }) {
  title("New session");
  main.append(element("h1", {}, "New session"));
  if (system.role === "operator") main.append(createForm(signal));
  else main.append(element("p", {}, "You may look, not begin sessions: sign in with an operator's token for that."));
}

function createForm(signal) {
  const inputs = makeInputs();
  const fields = makeFields(inputs);
  const problem = element("p", { class: "notice danger", role: "alert", hidden: true });
  const submit = element("button", { class: "primary" }, "Begin");
  const cost = estimateLine(signal);
  const choice = { subdirectories: [] };
  const browser = folderBrowser({
    signal,
    onChoose: (path, names) => {
      inputs.root.value = path;
      choice.subdirectories = names;
      fields.root.say(null);
      fields.subdirectories.say(null);
      estimate();
    },
    onTrouble: (error) => fields.root.say(error?.message ?? null),
  });
  const estimate = () => cost.estimate(inputs.root.value.trim(), choice.subdirectories, inputs.faces.checked);
  const form = element(
    "form", { novalidate: true, class: "card create" }, ...layout(fields, browser, cost.node, problem, submit),
  );
  const headersOf = oneKeyForOneRequest();

  inputs.root.addEventListener("input", () => {
    choice.subdirectories = [];
    browser.forget();
    estimate();
  });
  inputs.root.addEventListener("change", () => {
    if (inputs.root.value && !browser.isOpen(inputs.root.value)) browser.open(inputs.root.value);
  });
  inputs.faces.addEventListener("change", () => {
    inputs.minConfidence.disabled = inputs.minFaceSize.disabled = !inputs.faces.checked;
    estimate();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    setOptionalText(problem, null);
    const mistakes = mistakesIn(inputs);
    if (mistakes.length) {
      sayErrors(Object.values(fields), { errors: mistakes });
      return;
    }
    submit.disabled = true;
    try {
      const request = sessionRequest(inputs, choice);
      const session = await post("/training/sessions", request, { headers: headersOf(request), signal });
      location.hash = `#/sessions/${session.id}`;
    } catch (error) {
      if (signal.aborted) return;
      setOptionalText(problem, sayErrors(Object.values(fields), error));
      submit.disabled = false;
    }
  });

  browser.start();
  suggestCategories(inputs.categories, signal);
  return form;
}

/** However often the form is sent as it is, after an answer was lost say, it makes one session. */
function oneKeyForOneRequest() {
  let sent = null;
  let key = null;
  return (request) => {
    const now = JSON.stringify(request);
    if (now !== sent) key = idempotencyKey();
    sent = now;
    return { "Idempotency-Key": key };
  };
}

function makeInputs() {
  const text = { type: "text", autocomplete: "off", spellcheck: "false" };
  const decimal = { ...text, inputmode: "decimal", class: "short" };
  return {
    root: element("input", { ...text, placeholder: "/photos" }),
    category: element("input", { ...text, list: "categories" }),
    categories: element("datalist", { id: "categories" }),
    faces: element("input", { type: "checkbox", checked: true }),
    minConfidence: element("input", { ...decimal, placeholder: "0.5" }),
    minFaceSize: element("input", { ...decimal, placeholder: "20" }),
  };
}

function makeFields(inputs) {
  return {
    root: field("rootPath", "Folder", inputs.root, "Type a folder of the server, or choose one below."),
    subdirectories: field("subdirectories", "Folders", element("div", { role: "group", tabindex: "-1" })),
    category: field("category", "Category", inputs.category, "Optional. Its photos are found again under this name."),
    faces: field("faceDetection.enabled", "Find faces and group them by person", inputs.faces),
    minConfidence: field(
      "faceDetection.minConfidence", "Least confidence", inputs.minConfidence,
      "0 to 1. Higher finds fewer faces, with fewer mistakes.",
    ),
    minFaceSize: field(
      "faceDetection.minFaceSize", "Smallest face, px", inputs.minFaceSize, "Shorter side of the face.",
    ),
  };
}

function layout(fields, browser, cost, problem, submit) {
  fields.subdirectories.control.append(browser.node);
  fields.faces.node.classList.add("check");
  fields.subdirectories.node.classList.add("unlabelled");
  const thresholds = [fields.minConfidence.node, fields.minFaceSize.node];
  const more = element("details", {}, element("summary", {}, "More"), ...thresholds);
  const cancel = element("a", { class: "button", href: "#/sessions" }, "Back");
  return [
    fields.root.node, fields.subdirectories.node, fields.category.node, fields.faces.node, more, cost, problem,
    element("div", { class: "buttons" }, submit, cancel),
  ];
}

// Only suggestions: without them a category is typed.
async function suggestCategories(datalist, signal) {
  const page = await get(listPath("/categories", MOST_CATEGORIES), signal).catch(() => ({ items: [] }));
  datalist.append(...page.items.map(({ name }) => element("option", { value: name })));
}
