// What session this is, and how it is.

import { element, setOptionalText, setText } from "/page/dom.js";
import { folderName, onlyWord, statusWord } from "/page/words.js";

/** The session's heading. */
export function sessionHead(id) {
  const folder = element("h1", {}, `Session ${id}`); // until it is known what it is of
  const parent = element("p", { class: "path" });
  const only = element("p", { class: "only", hidden: true });
  const status = element("span", { class: "chip" });
  const node = element(
    "header", { class: "session-head" },
    element("div", {}, folder, only, parent), status, element("span", { class: "hint" }, `#${id}`),
  );

  function update(session) {
    const inPath = folderName(session.rootPath);
    setText(folder, inPath.name);
    setText(parent, inPath.parent);
    setOptionalText(only, onlyWord(session));
    setText(status, statusWord(session));
    status.dataset.status = session.overallStatus;
  }

  return { node, update };
}
