// Going through a grid by keys: arrows, a screen up and down, the first and the last.

/** `at()` is where the focus is, `shown()` how many there are, `focus(at)` gives it to another. */
export function gridKeys(node, { at, shown, layout, focus }) {
  node.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || !event.target.closest("li")) return;
    const to = target(event, at(), shown(), layout());
    if (to === null) return;
    event.preventDefault();
    focus(Math.max(0, Math.min(to, shown() - 1)));
  });
}

function target({ key, ctrlKey }, at, shown, { columns, step }) {
  const screen = Math.max(1, Math.floor(innerHeight / step) - 1) * columns;
  const startOfRow = at - (at % columns);
  switch (key) {
    case "ArrowLeft": return at - 1;
    case "ArrowRight": return at + 1;
    case "ArrowUp": return at < columns ? at : at - columns;
    case "ArrowDown": return at + columns;
    case "PageUp": return at - screen;
    case "PageDown": return at + screen;
    case "Home": return ctrlKey ? 0 : startOfRow;
    case "End": return ctrlKey ? shown - 1 : startOfRow + columns - 1;
    default: return null;
  }
}
