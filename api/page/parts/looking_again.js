// What lists do so as not to grow old: they are read again now and then, and when somebody comes back to the page.

const AGAIN_MS = 20_000;

/** Call `look` every now and then while the page is looked at, until the signal aborts. */
export function lookAgain(signal, look) {
  const timer = setInterval(() => document.hidden || look(), AGAIN_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  document.addEventListener("visibilitychange", () => document.hidden || look(), { signal });
}
