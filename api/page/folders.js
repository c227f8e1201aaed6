// Choosing a folder: down through the folders the server may read, whole or some of the folders in it.

import { get, listPath } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { count, folderName } from "/page/words.js";

const PAGE = 200;

/**
 * A browser of folders. `onChoose(path, subfolders)` is told each choice: the open folder, and the names ticked in
 * it; `onTrouble(error)` why a folder cannot be opened, null when it can.
 */
export function folderBrowser({ signal, onChoose, onTrouble }) {
  const crumbs = element("ol", { class: "crumbs" });
  const list = element("ul", { class: "folders", "aria-label": "Folders" });
  const more = element("button", { type: "button", hidden: true }, "More folders");
  const none = element("p", { class: "hint", hidden: true });
  const chosen = element("p", { class: "chosen", role: "status" });
  const node = element(
    "div", { class: "browser" },
    element("nav", { "aria-label": "Path of the open folder" }, crumbs), list, none, more, chosen,
  );
  const state = { roots: [], open: null, ticked: new Map(), opening: 0 };

  async function start() {
    const page = await read(null, null, (roots) => { state.roots = roots.directories.map(({ path }) => path); });
    if (!page) return;
    if (state.roots.length === 1) await open(state.roots[0]);
    else show(page);
  }

  /** Open a folder; null shows all that may be read. True when it could be opened. */
  async function open(path) {
    const page = await read(path, null);
    if (page) show(page);
    return Boolean(page);
  }

  async function read(path, pageToken, take = () => {}) {
    const opening = ++state.opening;
    const query = path === null ? "/directories" : `/directories?${new URLSearchParams({ path })}`;
    try {
      const page = await get(listPath(query, PAGE, pageToken), signal);
      take(page);
      if (opening !== state.opening) return null; // another was asked for meanwhile, or typed
      onTrouble(null);
      return page;
    } catch (error) {
      if (!signal.aborted && opening === state.opening) onTrouble(error);
      return null;
    }
  }

  function show(page) {
    const hadFocus = node.contains(document.activeElement);
    state.open = page.path;
    state.ticked.clear();
    crumbs.replaceChildren(...crumbsOf(page.path, state.roots).map((crumb) => crumbItem(crumb, page.path)));
    list.replaceChildren();
    append(page);
    setOptionalText(none, remark(page));
    if (hadFocus) (list.querySelector("button") ?? crumbs.querySelector("button:last-of-type"))?.focus();
    choose(page);
  }

  function append(page) {
    list.append(...page.directories.map((directory) => folderItem(directory, page)));
    more.hidden = !page.nextPageToken;
    more.onclick = async () => {
      const next = await read(page.path, page.nextPageToken);
      if (next) append(next);
    };
  }

  function crumbItem({ label, path }, current) {
    const here = path === current && "location";
    const attributes = { type: "button", class: "link", "aria-current": here, onclick: () => open(path) };
    return element("li", {}, element("button", attributes, label));
  }

  function folderItem({ name, path, images }, page) {
    const tick = page.path !== null && element("input", {
      type: "checkbox", "aria-label": `Only ${name}`,
      onchange: (event) => {
        if (event.target.checked) state.ticked.set(name, images);
        else state.ticked.delete(name);
        choose(page);
      },
    });
    const button = element("button", { type: "button", class: "folder", onclick: () => open(path) }, name);
    return element("li", {}, tick || null, button, element("span", { class: "number" }, photosText(images)));
  }

  function choose({ path, images }) {
    setOptionalText(chosen, choiceWord(path, images, [...state.ticked.values()]));
    if (path !== null) onChoose(path, [...state.ticked.keys()].sort());
  }

  /** What is open is not what is meant any more. */
  function forget() {
    state.opening += 1; // an answer that is under way must not overwrite what is typed
    state.open = undefined;
    state.ticked.clear();
    list.querySelectorAll("input").forEach((tick) => { tick.checked = false; });
    setOptionalText(chosen, null);
  }

  return { node, start, open, forget, isOpen: (path) => state.open === path };
}

/** Their sum, which is as exact as the least exact of them. */
function together(counts) {
  const sum = counts.reduce((so, one) => so + one.count, 0);
  return { text: counts.every((one) => one.exact) ? count(sum) : `${count(sum)}+` };
}

const photosText = (images) => `${images.text} ${images.text === "1" ? "photo" : "photos"}`;

function remark({ readable, complete, directories }) {
  if (!readable) return "The server may not read this folder.";
  if (!complete) return "This folder holds so much that not all folders in it are shown. Type the one you mean.";
  return directories.length ? null : "No folders in here.";
}

function choiceWord(path, images, ticked) {
  if (path === null) return "Open a folder to choose it.";
  const folders = ticked.length === 1 ? "1 folder" : `${count(ticked.length)} folders`;
  if (ticked.length) return `Chosen: ${folders} in ${path} (${photosText(together(ticked))})`;
  return `Chosen: all of ${path} (${photosText(images)})`;
}

/** From the outermost folder that may be read down to the open one. */
function crumbsOf(path, roots) {
  const all = roots.length === 1 ? [] : [{ label: "All folders", path: null }];
  const root = roots.find((one) => path === one || path?.startsWith(one === "/" ? one : `${one}/`));
  if (!root) return path === null ? all : [...all, { label: path, path }];
  const crumbs = [...all, { label: root, path: root }];
  let reached = root;
  for (const part of path.slice(root.length).split("/").filter(Boolean)) {
    reached = `${reached === "/" ? "" : reached}/${part}`;
    crumbs.push({ label: folderName(reached).name, path: reached });
  }
  return crumbs;
}
