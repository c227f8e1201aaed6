// Where somebody was on each page of their history, so that Back leads there and not to the top.

const SETTLED_MS = 150;

/** Have the history's entries remember how far they were scrolled, and the link that had the focus. */
export function rememberPlaces() {
  let timer = 0;
  history.scrollRestoration = "manual"; // what a view shows comes later than the browser would scroll
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(rememberPlace, SETTLED_MS);
  }, { passive: true });
  addEventListener("hashchange", () => clearTimeout(timer), { capture: true });
  document.addEventListener("click", rememberPlace, { capture: true }); // before a link leads away
}

/** Go where this entry of the history was left, once `shown` is fulfilled; a new one begins at the top. */
export async function restorePlace(shown, signal) {
  const { y = 0, focus = null } = history.state ?? {};
  await shown;
  if (signal.aborted || (!y && !focus)) return;
  scrollTo(0, y);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (!signal.aborted && focus) document.querySelector(linkTo(focus))?.focus({ preventScroll: true });
  }));
}

/** Write down where this entry of the history is now, before another takes its place. */
export function rememberPlace() {
  const link = document.activeElement?.closest("main a[href]");
  history.replaceState({ ...history.state, y: scrollY, focus: link?.getAttribute("href") ?? null }, "");
}

const linkTo = (address) => `main a[href="${CSS.escape(address)}"]`;
