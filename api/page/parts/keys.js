// Single keys as shortcuts, where nothing is typed.

/** Have keys (`event.key`, letters in lower case) do things until the signal aborts. */
export function onKeys(signal, does) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    const act = does[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    act(event);
  }, { signal });
}

const isTyping = (target) => Boolean(target.closest?.("input:not([type=checkbox]), textarea, select, [role=listbox]"));
