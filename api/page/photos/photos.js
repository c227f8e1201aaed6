// All photos, or those that are looked for.

import { get } from "/page/api.js";
import { arrange, element, setOptionalText, setText } from "/page/dom.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { lookAgain } from "/page/parts/looking_again.js";
import { photoFilters } from "/page/photos/filters.js";
import { photoGrid } from "/page/photos/grid.js";
import { know } from "/page/photos/known.js";
import { noPhotos } from "/page/photos/no_photos.js";
import { PagedList } from "/page/photos/paged_list.js";
import { addressOf, isRanked, pathOf, photoAddress, searchOf } from "/page/photos/search_state.js";
import { photoTile } from "/page/photos/tile.js";
import { WindowedList } from "/page/photos/windowed_list.js";
import { rememberPlace } from "/page/scroll.js";
import { count, monthTaken, photos } from "/page/words.js";

const PAGE = 100;

export function photosView(main, context) {
  const { signal, query, title, announce } = context;
  const filters = photoFilters(context, go);
  const when = element("span", { class: "month" });
  const number = element("span", { class: "hint number" });
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const body = element("div", { class: "found" });
  const showing = { type: "button", class: "link", hidden: true, onclick: showNewest };
  const newer = element("button", showing, "Show what is new");
  let search = searchOf(query);
  let known = 0;
  let again = () => {}; // reads what is looked for anew, where it stands
  let left = new AbortController(); // aborted when something else is looked for

  /** Look for something else; `isRefined` takes the place of what was looked for in the history. */
  function go(wanted, isRefined = false) {
    search = { ...search, ...wanted };
    if (addressOf(search) === location.hash) return;
    rememberPlace();
    const behind = isRefined ? history.state?.behind : location.hash;
    history[isRefined ? "replaceState" : "pushState"]({ behind }, "", addressOf(search));
    scrollTo(0, 0);
    show();
  }

  async function show() {
    left.abort();
    left = new AbortController();
    const here = AbortSignal.any([signal, left.signal]);
    filters.update(search);
    const list = listOf(search, here);
    const grid = photoGrid({
      list, label: "Photos", signal: here, onTrouble: context.tellTrouble, tile: (item, at) => tileOf(item, at, search),
      onSight: (first) => setText(when, isRanked(search) ? "" : monthTaken(list.item(first)?.image.takenAt)),
    });
    body.replaceChildren(grid.node);
    again = () => read(list, grid, here);
    await again();
  }

  async function read(list, grid, here) {
    try {
      await grid.reread();
      if (here.aborted) return;
      setOptionalText(trouble, null);
      known = list.length;
      tell(list, grid.shown());
      const none = list.length === 0 && (await noPhotos(search, context, filters.clear));
      arrange(body, [none || grid.node]);
    } catch (error) {
      if (here.aborted || error.status === 401) return;
      setText(number, "");
      setOptionalText(trouble, error.message);
    }
  }

  function tell(list, shown) {
    const more = shown < list.length ? `; the first ${count(shown)} are here, dates lead to the others` : "";
    const said = isRanked(search) ? "Best matches first" : `${photos(list.length)}${more}`;
    setText(number, said);
    newer.hidden = true;
    announce(list.length ? said : "No photos found.");
  }

  function showNewest() {
    scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
    show();
  }

  // While a session finds photos the grid does not jump: it says that there are others.
  async function lookForNew() {
    if (isRanked(search)) return;
    const page = await get(pathOf(search, { limit: 1 }), signal).catch(() => null);
    if (page) newer.hidden = page.total === known;
  }

  title("Photos");
  main.append(
    element("h1", { class: "visually-hidden" }, "Photos"), filters.node, trouble,
    element("div", { class: "sight" }, when, number, newer), body,
  );
  lookAgain(signal, lookForNew);
  onPeopleChanged(signal, () => search.personId.length && again());
  signal.addEventListener("abort", () => left.abort());
  return show();
}

function listOf(search, signal) {
  const read = async (more, end) => {
    const page = await get(pathOf(search, more), end ? AbortSignal.any([signal, end]) : signal);
    page.items.forEach(({ image }) => know(image));
    return page;
  };
  if (isRanked(search)) return new PagedList((pageToken) => read({ limit: PAGE, pageToken }));
  return new WindowedList((skip, limit, end) => read({ limit, skip: skip || null }, end));
}

function tileOf({ image, similarity }, at, search) {
  return photoTile(image, { href: photoAddress(image.id, search, at), similarity });
}
