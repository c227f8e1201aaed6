// The photos that could not be done, each with the reason.

import { get, listPath } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { pathInside, phaseName } from "/page/words.js";

const PAGE = 50;

/** The table, hidden while nothing has failed. `refresh(failed, root)` reads it again when that count has changed. */
export function failureTable({ sessionId, signal }) {
  const body = element("tbody");
  const more = element("button", { type: "button", hidden: true }, "More failures");
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const table = element("table", { class: "failures" }, head("Photo", "Phase", "Reason"), body);
  const node = element(
    "section", { class: "card", hidden: true, "aria-label": "Failures" },
    element("h2", {}, "Photos that failed"), table, more, trouble,
  );
  let known = 0;
  let next = null;
  let root = "";

  async function refresh(failed, rootPath) {
    if (failed === known) return;
    known = failed;
    root = rootPath;
    node.hidden = failed === 0;
    await read(null, Math.max(PAGE, body.children.length), (rows) => body.replaceChildren(...rows));
  }

  async function read(pageToken, limit, place) {
    try {
      const path = listPath(`/training/sessions/${sessionId}/failures`, Math.min(limit, 1_000), pageToken);
      const page = await get(path, signal);
      setOptionalText(trouble, null);
      place(page.items.map((item) => failureRow(item, root)));
      next = page.nextPageToken;
      more.hidden = !next;
    } catch (error) {
      if (signal.aborted) return;
      known = -1; // so that the next look reads again
      setOptionalText(trouble, error.message);
    }
  }

  more.addEventListener("click", () => read(next, PAGE, (rows) => body.append(...rows)));
  return { node, refresh };
}

// The roles are those a table has by itself, and loses where small screens lay it out as blocks.
function head(...titles) {
  const cells = titles.map((title) => element("th", { scope: "col", role: "columnheader" }, title));
  return element("thead", {}, element("tr", { role: "row" }, ...cells));
}

function failureRow({ path, phase, code, message }, root) {
  const cell = (...content) => element("td", { role: "cell" }, ...content);
  return element(
    "tr", { role: "row" },
    cell(element("span", { class: "path", title: path }, pathInside(path, root))), cell(phaseName(phase)),
    cell(message, " ", element("code", {}, code)),
  );
}
