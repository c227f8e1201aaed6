// Swiping sideways with a finger.

const FAR_PX = 60;
const STEEP = 0.5; // of the way sideways that may be up or down

/** `swiped(by)` is told: −1 to what is before, +1 to what is after. */
export function onSwipe(node, swiped) {
  let begun = null;
  node.addEventListener("touchstart", ({ touches }) => {
    const isSwipe = touches.length === 1 && visualViewport.scale <= 1; // two fingers enlarge, and one moves that about
    begun = isSwipe ? { x: touches[0].clientX, y: touches[0].clientY } : null;
  }, { passive: true });
  node.addEventListener("touchend", ({ changedTouches: [touch] }) => {
    if (!begun) return;
    const [x, y] = [touch.clientX - begun.x, touch.clientY - begun.y];
    begun = null;
    if (Math.abs(x) > FAR_PX && Math.abs(y) < Math.abs(x) * STEEP) swiped(x < 0 ? 1 : -1);
  }, { passive: true });
}
