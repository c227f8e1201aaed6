// How fast a phase goes, from the moments its count was seen to change.

const WINDOW_MS = 30_000; // long enough to even out batches, short enough to follow a change

export class Rate {
  #phase = null;
  #samples = [];

  /** Units a second over the last half minute; null until two different counts were seen. */
  add(phase, current, nowMs) {
    const last = this.#samples.at(-1);
    if (phase !== this.#phase || (last && current < last.current)) this.#samples = [];
    this.#phase = phase;
    if (this.#samples.at(-1)?.current !== current) this.#samples.push({ current, nowMs });
    while (this.#samples.length > 2 && this.#samples[0].nowMs < nowMs - WINDOW_MS) this.#samples.shift();
    return this.#perSecond();
  }

  /** Forget what was seen: the time until the next sample says nothing of the speed. */
  reset() {
    this.#samples = [];
  }

  #perSecond() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const seconds = (last.nowMs - first.nowMs) / 1000;
    return seconds > 0 ? (last.current - first.current) / seconds : null;
  }
}
