// The faces to ask about, one after another, and the answers, sent in the order they were given.

import { get, listPath, post } from "/page/api.js";
import { change, changedNothing, undoChange } from "/page/parts/changes.js";
import { forgetToast, toast } from "/page/parts/toast.js";

const PAGE = 100;
const MOST = 1_000; // the API's longest page
const ENOUGH = 20; // so many ahead are known

/** `onChange()` is called when there is something else to ask; `onTrouble(error)` when an answer was not taken. */
export class SuggestionQueue {
  #path;
  #signal;
  #on;
  #waiting = [];
  #seen = new Set();
  #nextPage = null;
  #reading = null;
  #sending = Promise.resolve();
  #given = []; // answers that may be taken back, the latest last
  isRead = false;

  /** `path` is the list to read. */
  constructor(path, signal, on) {
    this.#path = path;
    this.#signal = signal;
    this.#on = on;
  }

  get current() { return this.#waiting[0] ?? null; }
  get ahead() { return this.#waiting.slice(1, 4); }
  get hasMore() { return this.#nextPage !== null; }
  get mayUndo() { return this.#given.length > 0; }

  /** Of whom the current face is thought to be: how many are left to ask about. */
  countFor(person) { return this.#waiting.filter((one) => one.person.id === person.id).length; }
  get count() { return this.#waiting.length; }

  /** Read the list anew: what is still to be asked stays where it is, what is new comes behind it. */
  async refresh() {
    await this.#reading?.catch(() => {});
    const limit = Math.min(MOST, Math.max(PAGE, this.#waiting.length));
    const page = await get(listPath(this.#path, limit, null), this.#signal);
    const there = new Set(page.items.map(keyOf));
    this.#waiting = this.#waiting.filter((one, i) => there.has(keyOf(one)) || (page.nextPageToken && i >= limit));
    this.#seen = new Set(this.#waiting.map(keyOf));
    this.#take(page);
  }

  async #read() {
    this.#reading ??= this.#readPage().finally(() => { this.#reading = null; });
    await this.#reading;
  }

  async #readPage() {
    this.#take(await get(listPath(this.#path, PAGE, this.#nextPage), this.#signal));
  }

  #take(page) {
    const isAnswered = (one) => this.#given.some(({ about }) => keyOf(about) === keyOf(one));
    const fresh = page.items.filter((one) => !this.#seen.has(keyOf(one)) && !isAnswered(one));
    fresh.forEach((one) => this.#seen.add(keyOf(one)));
    this.#waiting.push(...fresh);
    this.#nextPage = page.nextPageToken;
    this.isRead = true;
    this.#on.onChange();
  }

  /** Yes, or no. The next face is there at once; the answer goes out behind those before it. */
  answer(isYes) {
    const about = this.#waiting.shift();
    if (!about) return;
    const given = { about, isYes, made: null };
    this.#given.push(given);
    this.#sending = this.#sending.then(() => this.#send(given));
    this.#readAhead();
    this.#on.onChange();
  }

  /** Not now: it comes again at the end. */
  skip() {
    if (this.#waiting.length > 1) this.#waiting.push(this.#waiting.shift());
    this.#on.onChange();
  }

  async #send(given) {
    const { face, person } = given.about;
    const path = given.isYes ? "/suggestions/accept" : "/suggestions/reject";
    try {
      const made = await change(() => post(path, { suggestions: [{ faceId: face.id, personId: person.id }] }));
      if (changedNothing(made)) this.#forget(given);
      else given.made = made;
    } catch (error) {
      this.#forget(given);
      if (error.status !== 404 && error.status !== 409) this.#askAgain(given); // else it is settled
      this.#on.onTrouble(error);
    }
    this.#on.onChange();
  }

  /** Take the latest answer back, behind those before it, and ask again once the server has. */
  undo() {
    const given = this.#given.pop();
    if (given) this.#sending = this.#sending.then(() => this.#takeBack(given));
  }

  async #takeBack(given) {
    if (!given.made) return; // there is nothing to take back
    forgetToast();
    try {
      await undoChange(given.made);
      this.#askAgain(given);
      toast("Undone. Here it is again.");
    } catch (error) {
      this.#on.onTrouble(error);
    }
    this.#on.onChange();
  }

  /** Somebody else took an answer back, in the toast or in the history. */
  takenBack(changeId) {
    const given = this.#given.find(({ made }) => made?.id === changeId);
    if (!given) return;
    this.#forget(given);
    this.#askAgain(given);
    this.#on.onChange();
  }

  #forget(given) {
    this.#given = this.#given.filter((one) => one !== given);
  }

  // The list may have been read meanwhile, and hold it again.
  #askAgain({ about }) {
    this.#waiting = [about, ...this.#waiting.filter((one) => keyOf(one) !== keyOf(about))];
  }

  async #readAhead() {
    if (this.#waiting.length > ENOUGH || !this.hasMore) return;
    await this.#read().catch((error) => this.#signal.aborted || this.#on.onTrouble(error));
  }
}

const keyOf = ({ face, person }) => `${face.id} ${person.id}`;
