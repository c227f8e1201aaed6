// A long list of known length, of which only the windows that are looked at are read.

const WINDOW = 100;
const KEPT = 60; // windows; the rest is read again when it is looked at again

/** `read(skip, limit, signal)` fulfils with `{ items, total }`. */
export class WindowedList {
  #read;
  #windows = new Map(); // number -> items, the one read longest ago first
  #reading = new Map(); // number -> AbortController
  #era = 0; // what was asked for before the list was reread is of no interest
  length = 0;

  constructor(read) {
    this.#read = read;
  }

  item(at) {
    return this.#windows.get(Math.floor(at / WINDOW))?.[at % WINDOW];
  }

  /** Know those from `first` to before `last`; what is not wanted any more is not waited for. */
  async want(first, last) {
    const wanted = windowsOf(first, Math.min(last, this.length));
    for (const [number, reading] of this.#reading) if (!wanted.includes(number)) reading.abort();
    const missing = wanted.filter((one) => !this.#windows.has(one) && !this.#reading.has(one));
    await Promise.all(missing.map((one) => this.#fetch(one)));
  }

  /** Read from the beginning, as the list is now. */
  async reread() {
    this.#era += 1;
    this.#reading.forEach((reading) => reading.abort());
    this.#reading.clear();
    const era = this.#era;
    const { items, total } = await this.#read(0, WINDOW, null);
    if (era !== this.#era) return;
    this.length = total ?? items.length;
    this.#windows = new Map([[0, items]]);
  }

  async #fetch(number) {
    const controller = new AbortController();
    const era = this.#era;
    this.#reading.set(number, controller);
    try {
      const { items, total } = await this.#read(number * WINDOW, WINDOW, controller.signal);
      if (era !== this.#era) return;
      this.length = total ?? this.length;
      this.#windows.set(number, items);
      while (this.#windows.size > KEPT) this.#windows.delete(this.#windows.keys().next().value);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.#reading.get(number) === controller) this.#reading.delete(number);
    }
  }
}

function windowsOf(first, last) {
  const numbers = [];
  for (let one = Math.floor(first / WINDOW); one * WINDOW < last; one += 1) numbers.push(one);
  return numbers;
}
