// Photos as squares, of which only those in sight are in the document, however many there are.

import { element } from "/page/dom.js";
import { extentOf, layoutOf, positionOf, rangeOf } from "/page/photos/grid_layout.js";
import { gridKeys } from "/page/photos/grid_keys.js";

const SPARE_ROWS = 2;
const MARGIN_PX = 56; // what is always in sight above the grid
const AGAIN_MS = 2_000; // when it could not be read
const PASSING_MS = 80; // what is only scrolled past is not asked for

/**
 * A grid of `list` (see windowed_list.js and paged_list.js). `tile(item, at)` makes what shows an item, `onSight(first,
 * last)` is told what is in sight. `reread()` reads the list anew and fulfils when there is something to see.
 */
export function photoGrid({ list, tile, label, signal, onTrouble, onSight = () => {} }) {
  const node = element("ul", { class: "photo-grid", role: "list", "aria-label": label });
  const places = new Map(); // position -> { node, item }
  const state = { layout: null, shown: 0, timer: 0, frame: 0, active: 0 };

  function measure() {
    const width = node.clientWidth;
    if (!width) return;
    state.layout = layoutOf(width);
    const { shown, height } = extentOf(state.layout, list.length);
    state.shown = shown;
    node.style.height = `${height}px`;
    node.style.setProperty("--side", `${state.layout.side}px`);
    for (const [at, place] of places) move(place.node, at);
    render();
  }

  function render() {
    state.frame = 0;
    if (!state.layout || !node.isConnected) return;
    const [first, last] = inSight(SPARE_ROWS);
    for (const at of [...places.keys()]) if ((at < first || at >= last) && !isHeld(at)) drop(at);
    for (let at = first; at < last; at += 1) fill(at);
    if (!places.has(state.active)) activate(inSight(0)[0]); // or the tabulator would pass the grid by
    inOrder();
    tellSight();
    clearTimeout(state.timer);
    state.timer = setTimeout(() => fetch(first, last), PASSING_MS);
  }

  function inSight(spare) {
    const top = -node.getBoundingClientRect().top;
    return rangeOf(state.layout, state.shown, top, top + innerHeight, spare);
  }

  const tellSight = () => onSight(...inSight(0));

  // The one that has the focus stays, wherever it is.
  const isHeld = (at) => at < state.shown && places.get(at).node.contains(document.activeElement);

  function fill(at) {
    const item = list.item(at);
    const known = places.get(at);
    if (known && known.item === item) return;
    const place = known ?? { node: element("li", { tabindex: "-1" }) }; // it may have the focus before it is read
    place.item = item;
    const hadFocus = place.node.contains(document.activeElement);
    place.node.setAttribute("aria-setsize", String(list.hasMore ? -1 : state.shown)); // nobody knows how many
    place.node.setAttribute("aria-posinset", String(at + 1));
    place.node.replaceChildren(...(item ? [tile(item, at)] : []));
    const link = place.node.querySelector("a");
    if (link) link.tabIndex = at === state.active ? 0 : -1;
    if (hadFocus) link?.focus({ preventScroll: true });
    if (!known) {
      places.set(at, place);
      move(place.node, at);
    }
  }

  // In the document they stand in the order they are seen in, for who goes through it by ear.
  function inOrder() {
    let before = null;
    for (const at of [...places.keys()].sort((one, other) => one - other)) {
      const { node: here } = places.get(at);
      const expected = before ? before.nextSibling : node.firstChild;
      if (here !== expected) node.insertBefore(here, expected);
      before = here;
    }
  }

  function drop(at) {
    const { node: gone } = places.get(at);
    gone.querySelectorAll("img").forEach((picture) => picture.removeAttribute("src")); // or it would still be loaded
    gone.remove();
    places.delete(at);
  }

  function move(place, at) {
    const { x, y } = positionOf(state.layout, at);
    place.style.transform = `translate(${x}px, ${y}px)`;
  }

  async function fetch(first, last) {
    if (signal.aborted) return undefined;
    const before = list.length;
    try {
      await list.want(first, last);
      onTrouble(null);
    } catch (error) {
      if (signal.aborted) return undefined;
      onTrouble(error);
      state.timer = setTimeout(() => fetch(first, last), AGAIN_MS);
      return undefined;
    }
    if (signal.aborted) return undefined;
    if (list.length !== before) return measure();
    [...places.keys()].forEach((at) => at < state.shown && fill(at));
    return tellSight();
  }

  function later() {
    state.frame ||= requestAnimationFrame(render);
  }

  /** Have the tabulator stop at this one. */
  function activate(at) {
    const links = [state.active, at].map((one) => places.get(one)?.node.querySelector("a"));
    if (links[0]) links[0].tabIndex = -1;
    if (links[1]) links[1].tabIndex = 0;
    state.active = at;
  }

  /** Give the focus to this one, wherever it is. */
  function focus(at) {
    const top = node.getBoundingClientRect().top + positionOf(state.layout, at).y;
    const below = top + state.layout.side - innerHeight;
    if (top < MARGIN_PX) scrollBy(0, top - MARGIN_PX);
    else if (below > 0) scrollBy(0, below + MARGIN_PX / 4);
    render();
    activate(at);
    (places.get(at)?.node.querySelector("a") ?? places.get(at)?.node)?.focus({ preventScroll: true });
  }

  async function reread() {
    await list.reread();
    if (signal.aborted) return;
    for (const at of [...places.keys()]) if (at >= list.length) drop(at);
    state.active = Math.min(state.active, Math.max(0, list.length - 1));
    measure();
  }

  node.addEventListener("focusin", (event) => {
    const at = [...places].find(([, place]) => place.node.contains(event.target))?.[0];
    if (at !== undefined) activate(at);
  });
  gridKeys(node, { at: () => state.active, shown: () => state.shown, layout: () => state.layout, focus });
  addEventListener("scroll", later, { signal, passive: true });
  const resized = new ResizeObserver(measure);
  resized.observe(node);
  signal.addEventListener("abort", () => {
    resized.disconnect();
    clearTimeout(state.timer);
    cancelAnimationFrame(state.frame);
  });
  return { node, reread, shown: () => state.shown, focus };
}
