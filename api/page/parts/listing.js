// A list that is read page by page, kept up to date, and whose items keep their nodes.

import { get, listPath } from "/page/api.js";
import { arrange, element, setOptionalText } from "/page/dom.js";

const MOST = 1_000; // the API's longest page

/**
 * `make(item)` gives `{ node, update(item) }`. `refresh()` reads as many as are shown again; "More" reads another
 * page. `onRead(items, hasMore)` is told. Raises nothing: both fulfil with whether it is known what there is, and
 * `trouble` says why not.
 */
export function listing({ path, page, make, key = ({ id }) => id, list, more = "More", signal, onRead = () => {} }) {
  const button = element("button", { type: "button", hidden: true, onclick: () => grow() }, more);
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const known = new Map();
  let wanted = page;
  let reading = 0;
  let isKnown = false;

  async function refresh() {
    const mine = ++reading;
    try {
      const { items, nextPageToken } = await readPages(path(), wanted, signal);
      if (mine !== reading) return isKnown;
      isKnown = true;
      setOptionalText(trouble, null);
      show(items);
      button.hidden = !nextPageToken;
      onRead(items, Boolean(nextPageToken));
    } catch (error) {
      if (signal.aborted || mine !== reading || error.status === 401) return isKnown;
      isKnown = false;
      setOptionalText(trouble, error.message);
    }
    return isKnown;
  }

  function show(items) {
    const nodes = items.map((item) => {
      const id = key(item);
      if (!known.has(id)) known.set(id, make(item));
      known.get(id).update(item);
      return known.get(id).node;
    });
    const shown = new Set(items.map(key));
    for (const id of known.keys()) if (!shown.has(id)) known.delete(id);
    arrange(list, nodes);
  }

  async function grow() {
    const before = list.children.length;
    wanted += page;
    await refresh();
    list.children[before]?.querySelector("a, button, input")?.focus();
  }

  const restart = () => {
    wanted = page;
    return refresh();
  };
  return { nodes: [list, button, trouble], refresh, restart, of: (id) => known.get(id) };
}

/** The first `wanted` items of a list, or all where there are fewer, and where it goes on. */
export async function readPages(path, wanted, signal) {
  const items = [];
  let nextPageToken = null;
  do {
    const next = await get(listPath(path, Math.min(wanted - items.length, MOST), nextPageToken), signal);
    items.push(...next.items);
    nextPageToken = next.nextPageToken;
  } while (nextPageToken && items.length < wanted);
  return { items, nextPageToken };
}
