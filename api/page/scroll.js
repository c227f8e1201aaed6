// Where somebody was on each page of their history, so that Back leads there and not to the top.

import { element } from "/page/dom.js";

const SETTLED_MS = 150;
const LONGEST_MS = 10_000; // that what had the focus is waited for

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

/** A link to where somebody came from; where that is just behind in the history, it is gone back to as it was left. */
export function backLink(href, label) {
  const link = element("a", { href }, label);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
    event.preventDefault();
    goBack(href);
  });
  return element("nav", { class: "back", "aria-label": "Back" }, link);
}

/** As that link does. */
export function goBack(href) {
  if (history.state?.behind === href) history.back();
  else location.hash = href;
}

/** Leave what is no more: Back does not lead here again. */
export function leaveFor(href) {
  if (history.state?.behind === href) history.back();
  else goInPlace(href);
}

/** Have a new entry of the history know the address behind it (none: it is the first). */
export function knowBehind(address) {
  if (!history.state) history.replaceState({ behind: address }, "");
}

/** Show another address in place of this one: what is behind stays behind. */
export function goInPlace(href) {
  history.replaceState({ behind: history.state?.behind ?? null }, "", href);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Go where this entry of the history was left, once `shown` is fulfilled; a new one begins at the top. */
export async function restorePlace(shown, signal) {
  const { y = 0, focus = null } = history.state ?? {};
  await shown;
  if (signal.aborted || (!y && !focus)) return;
  scrollTo(0, y);
  if (focus) focusWhenThere(focus, signal);
}

// What is scrolled to may be read only now. Whoever has gone on meanwhile is left alone.
function focusWhenThere(address, signal) {
  const main = document.getElementById("main");
  const look = () => {
    const link = main.querySelector(`a[href="${CSS.escape(address)}"]`);
    const isFree = [main, document.body].includes(document.activeElement);
    if (link && isFree) link.focus({ preventScroll: true });
    if (link || !isFree) observer.disconnect();
  };
  const observer = new MutationObserver(look);
  observer.observe(main, { childList: true, subtree: true });
  signal.addEventListener("abort", () => observer.disconnect());
  setTimeout(() => observer.disconnect(), LONGEST_MS);
  look();
}

/** Write down where this entry of the history is now, before another takes its place. */
export function rememberPlace() {
  const link = document.activeElement?.closest("main a[href]");
  history.replaceState({ ...history.state, y: scrollY, focus: link?.getAttribute("href") ?? null }, "");
}
