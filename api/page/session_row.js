// One session in the list of all.

import { element, setOptionalText, setText } from "/page/dom.js";
import { folderName, isActive, moment, onlyWord, percent, photos, statusWord } from "/page/words.js";

/** The row; `update(session)` shows how far it is. */
export function sessionRow({ id, createdAt, rootPath, category, ...asked }) {
  const { name, parent } = folderName(rootPath);
  const only = onlyWord(asked);
  const status = element("span", { class: "chip" });
  const bar = element("progress", { max: "100", "aria-label": `Progress of session ${id}` });
  const reached = element("span", { class: "number" });
  const counts = element("span");
  const failed = element("span", { class: "failed-count", hidden: true });
  const waiting = element("span", { class: "session-waiting", hidden: true });
  const node = element(
    "li", { class: "card session-row" },
    element(
      "div", { class: "session-folder" },
      element("a", { href: `#/sessions/${id}` }, name), only && element("span", { class: "only" }, only),
      element("span", { class: "path" }, parent),
    ),
    status,
    element("div", { class: "session-bar" }, bar, reached),
    element(
      "div", { class: "session-counts" },
      element("span", {}, `#${id}`), waiting, counts, failed, category && element("span", {}, category),
      moment(createdAt),
    ),
  );

  function update(session) {
    setText(status, statusWord(session));
    status.dataset.status = bar.dataset.status = session.overallStatus;
    bar.value = session.percentage;
    setText(reached, percent(session.percentage));
    setText(counts, session.images.total ? photos(session.images.total) : "");
    setOptionalText(failed, session.images.failed ? `${session.images.failed} failed` : null);
    setOptionalText(waiting, whyWaiting(session));
  }

  return { node, update };
}

function whyWaiting({ overallStatus, waiting }) {
  return isActive(overallStatus) && waiting ? waiting.message || waiting.code : null;
}
