// Single keys as shortcuts, where nothing is typed.

/** Have keys (`event.key`; letters in lower case, and once however long held) do things until the signal aborts. */
export function onKeys(signal, does) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    const isLetter = event.key.length === 1;
    const act = does[isLetter ? event.key.toLowerCase() : event.key];
    if (!act || (isLetter && event.repeat) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    act(event);
  }, { signal });
}

const isTyping = (target) => Boolean(target.closest?.("input:not([type=checkbox]), textarea, select, [role=listbox]"));
