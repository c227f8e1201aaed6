// Doing one thing at a time: who clicks twice means it once.

/**
 * `act(does, then)` does it, and `then` what follows, `onDone()` unless said otherwise; while something is being done
 * it does nothing. `onTrouble(error)` hears what went wrong, and null when something is begun.
 */
export function acting({ signal, onDone, onTrouble }) {
  let isBusy = false;
  return async (does, then = onDone) => {
    if (isBusy) return;
    isBusy = true;
    onTrouble(null);
    try {
      await does();
      await then();
    } catch (error) {
      if (!signal.aborted) onTrouble(error);
    } finally {
      isBusy = false;
    }
  };
}
