// A list of which nobody knows the length: it is read page after page, as far as it is looked at.

const AHEAD = 60; // so many more than are looked at are known

/** `read(pageToken)` fulfils with `{ items, nextPageToken }`. */
export class PagedList {
  #read;
  #items = [];
  #next = null;
  #reading = null;
  #era = 0;

  constructor(read) {
    this.#read = read;
  }

  get length() { return this.#items.length; }
  get hasMore() { return this.#next !== null; }

  item(at) {
    return this.#items[at];
  }

  async want(_, last) {
    while (this.#next !== null && this.#items.length < last + AHEAD) {
      this.#reading ??= this.#readFrom(this.#next, this.#items);
      await this.#reading;
    }
  }

  /** Read from the beginning, as far as was known. */
  reread() {
    this.#reading = this.#readFrom(null, [], this.#items.length);
    return this.#reading;
  }

  // Only what was begun last counts, and until that is there nothing else is read.
  async #readFrom(next, before, wanted = 0) {
    const era = ++this.#era;
    const items = [...before];
    try {
      do {
        const page = await this.#read(next);
        if (era !== this.#era) return;
        items.push(...page.items);
        next = page.nextPageToken;
      } while (next && items.length < wanted);
      this.#items = items;
      this.#next = next;
    } finally {
      if (era === this.#era) this.#reading = null;
    }
  }
}
