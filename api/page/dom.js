// Elements without markup: what is given as text stays text, so no path or message is ever read as HTML.

/** An element with attributes (null and false are left out), `on…` listeners, and children (null is left out). */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set an element's text only when it differs, so that assistive technology is not told the same again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show or hide; a text of none hides. */
export function setOptionalText(node, text) {
  setText(node, text ?? "");
  node.hidden = !text;
}

/**
 * Have `list` hold exactly these nodes in this order. Nodes that are where they belong are not touched, so that
 * neither focus nor what is half typed is lost; the focus of one that goes is the next one's.
 */
export function arrange(list, nodes) {
  const kept = new Set(nodes);
  const focused = [...list.children].findIndex((child) => child.contains(document.activeElement));
  for (const child of [...list.children]) if (!kept.has(child)) child.remove();
  nodes.forEach((node, i) => {
    if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
  });
  if (focused >= 0 && !list.contains(document.activeElement)) focusNear(list, focused);
}

function focusNear(list, at) {
  const next = list.children[Math.min(at, list.children.length - 1)];
  (next?.querySelector("input, a[href], button") ?? document.getElementById("main")).focus({ preventScroll: true });
}
