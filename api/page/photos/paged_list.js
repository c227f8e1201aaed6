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
      const era = this.#era;
      this.#reading ??= this.#read(this.#next).finally(() => { this.#reading = null; });
      const { items, nextPageToken } = await this.#reading;
      if (era !== this.#era) return;
      this.#take(items, nextPageToken);
    }
  }

  async reread() {
    const era = ++this.#era;
    const wanted = this.#items.length;
    const found = [];
    let next = null;
    do {
      const page = await this.#read(next);
      if (era !== this.#era) return;
      found.push(...page.items);
      next = page.nextPageToken;
    } while (next && found.length < wanted);
    this.#items = [];
    this.#take(found, next);
  }

  #take(items, next) {
    this.#items.push(...items);
    this.#next = next;
  }
}
