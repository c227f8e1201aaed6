// A session's progress as it happens: by events, and by asking again and again where those are not to be had.

import { eventsUrl, get } from "/page/api.js";
import { isActive } from "/page/words.js";

const POLL_MS = 2_000;
const CHECK_MS = 15_000; // while events come: to notice a stream that died without a word, or a sign-in that ended
const HIDDEN_MS = 10_000;
const EVENTS_AGAIN_MS = 5_000;

/**
 * Watch a session until it has ended, is no more, or `signal` aborts. `onProgress` gets what progress-unified
 * answers; `onTrouble` the error that keeps us from knowing, and null whenever we know; `isAwaited` says whether
 * something was asked of the session, ended or not, that has not begun.
 */
export class LiveProgress {
  #sessionId;
  #signal;
  #on;
  #source = null;
  #heard = false; // the stream that is open has told something
  #told = 0;
  #over = false;
  #pollTimer = 0;
  #eventsTimer = 0;

  constructor(sessionId, signal, on) {
    this.#sessionId = sessionId;
    this.#signal = signal;
    this.#on = on;
    signal.addEventListener("abort", () => this.#stop());
    document.addEventListener("visibilitychange", () => this.#over || this.#listen(), { signal });
    this.#listen();
  }

  /** Look again: something was asked of the session, so that what was its end may be so no more. */
  restart() {
    this.#over = false;
    if (!this.#source) this.#listen();
    this.#poll();
  }

  // A browser opens six connections to a server, for all its tabs: hidden ones give theirs back.
  #listen() {
    this.#close();
    this.#pollIn(document.hidden ? HIDDEN_MS : POLL_MS);
    if (document.hidden) return;
    this.#source = new EventSource(eventsUrl(this.#sessionId));
    this.#source.addEventListener("progress", (event) => this.#hear(JSON.parse(event.data)));
    this.#source.addEventListener("error", () => this.#lose());
  }

  #hear(progress) {
    this.#heard = true;
    this.#pollIn(CHECK_MS);
    this.#tell(progress);
  }

  // Also how a stream ends that has nothing more to tell; asking says which it was.
  #lose() {
    this.#close();
    this.#eventsTimer = setTimeout(() => this.#listen(), EVENTS_AGAIN_MS);
    this.#poll();
  }

  async #poll() {
    const before = this.#told;
    try {
      const progress = await get(`/training/sessions/${this.#sessionId}/progress-unified`, this.#signal);
      if (this.#told === before) this.#tell(progress); // what came meanwhile is newer
      if (!isActive(progress.overallStatus) && !this.#on.isAwaited()) this.#stop();
    } catch (error) {
      if (this.#signal.aborted) return;
      if (error.status === 404 || error.status === 422) this.#stop();
      this.#on.onTrouble(error);
    }
    if (!this.#over) this.#pollIn(document.hidden ? HIDDEN_MS : this.#heard ? CHECK_MS : POLL_MS);
  }

  #tell(progress) {
    this.#told += 1;
    this.#on.onTrouble(null);
    this.#on.onProgress(progress);
  }

  #pollIn(ms) {
    clearTimeout(this.#pollTimer);
    this.#pollTimer = setTimeout(() => this.#poll(), ms);
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    this.#heard = false;
    clearTimeout(this.#eventsTimer);
  }

  #stop() {
    this.#over = true;
    this.#close();
    clearTimeout(this.#pollTimer);
  }
}
