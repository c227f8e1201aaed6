// Groups of faces without a name, the largest first, and who they are.

import { element, setOptionalText } from "/page/dom.js";
import { listing } from "/page/parts/listing.js";
import { unknownGroup } from "/page/people/unknown_group.js";

const PAGE = 12;
const NOBODY = "Nobody: every group has a name. New ones appear here as sessions find them.";

export function unknownGroups({ signal, mayChange, announce }) {
  const list = element("ul", { class: "groups", "aria-label": "Unknown people" });
  const done = element("p", { class: "hint", hidden: true });
  const heading = element("h2", { tabindex: "-1" }, "Who is this?");
  let isEmpty = true;
  const groups = listing({
    path: () => "/clusters", page: PAGE, list, more: "More groups", signal,
    make: (cluster) => unknownGroup(cluster, { signal, mayChange, onLeft: left, onGone: () => groups.refresh() }),
    onRead: (items) => {
      isEmpty = items.length === 0;
      setOptionalText(done, isEmpty ? NOBODY : null);
    },
  });
  const node = element("section", { "aria-label": "Who is this?" }, heading, done, ...groups.nodes);

  /** A group is done with; the next one takes its place, and the focus. */
  function left(item) {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    const field = next?.querySelector("input");
    (field ?? heading).focus();
    // What was done is the toast's to say.
    announce(next ? `Next: ${next.getAttribute("aria-label")}.` : "That was the last group.");
  }

  return { node, refresh: groups.refresh, isEmpty: () => isEmpty };
}
