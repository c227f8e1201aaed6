// The photos before and after one, in the list that it was opened from.

import { get, queried } from "/page/api.js";
import { element } from "/page/dom.js";
import { know } from "/page/photos/known.js";
import { isRanked, pathOf, photoAddress, searchOf } from "/page/photos/search_state.js";
import { goInPlace } from "/page/scroll.js";

const AROUND = 50; // so far is looked for it where the list has changed since
const MOST = 1_000; // the API's longest page
const LARGE = 1280;

/** `links` lead there; they take the place of this photo in the history, so that Back leads to the list. */
export class Neighbours {
  #id;
  #search;
  #at;
  #signal;
  #before = stepLink("Previous photo", "‹", "before");
  #after = stepLink("Next photo", "›", "after");

  constructor(id, query, signal) {
    this.#id = Number(id);
    this.#search = searchOf(query);
    this.#at = query.has("at") ? Number(query.get("at")) : null;
    this.#signal = signal;
  }

  get links() { return [this.#before, this.#after]; }

  /** Learn which they are; without them there is nothing to see. */
  async read() {
    if (!Number.isInteger(this.#at) || this.#at < 0) return;
    try {
      const found = (await this.#near(1)) ?? (await this.#near(AROUND));
      if (found) this.#show(found);
    } catch {
      // the photo itself is what was asked for
    }
  }

  async #near(reach) {
    // What comes by likeness can only be read from its beginning.
    const skip = isRanked(this.#search) ? 0 : Math.max(0, this.#at - reach);
    const limit = Math.min(this.#at + reach + 1 - skip, MOST);
    const { items } = await get(pathOf(this.#search, { limit, skip: skip || null }), this.#signal);
    const i = items.findIndex(({ image }) => image.id === this.#id);
    return i < 0 ? null : { items, i, at: skip + i };
  }

  #show({ items, i, at }) {
    this.#lead(this.#before, items[i - 1], at - 1);
    this.#lead(this.#after, items[i + 1], at + 1);
  }

  #lead(link, found, at) {
    link.hidden = !found;
    if (!found) return;
    link.href = photoAddress(found.image.id, this.#search, at);
    know(found.image);
    new Image().src = queried(found.image.thumbnailUrl, { side: LARGE });
  }

  go(by) {
    const link = by < 0 ? this.#before : this.#after;
    if (!link.hidden) link.click();
  }
}

function stepLink(label, sign, side) {
  const shown = element("span", { "aria-hidden": "true" }, sign);
  const link = element("a", { class: `step ${side}`, "aria-label": label, hidden: true }, shown);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
    event.preventDefault();
    goInPlace(link.getAttribute("href"));
  });
  return link;
}
