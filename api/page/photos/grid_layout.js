// Where the squares of a grid are: how many beside each other, how large, and which of them are in sight.

const GAP_PX = 4;
const LEAST_PX = 104; // three beside each other on a small phone
const COMFORT_PX = 168; // where there is room
const MOST_PX = 12_000_000; // browsers lose what lies further down

/** For a grid so wide: the columns, a square's side, and the distance from one row to the next, in px. */
export function layoutOf(width) {
  const least = width < 640 ? LEAST_PX : COMFORT_PX;
  const columns = Math.max(1, Math.floor((width + GAP_PX) / (least + GAP_PX)));
  const side = (width - (columns - 1) * GAP_PX) / columns;
  return { columns, side, step: side + GAP_PX };
}

/** The height of so many squares, and how many of them fit into what a browser can show. */
export function extentOf({ columns, step }, length) {
  const shown = Math.min(length, Math.floor(MOST_PX / step) * columns);
  return { shown, height: Math.max(0, Math.ceil(shown / columns) * step - GAP_PX) };
}

/** First and one past the last of those that lie between `top` and `bottom`, with `spare` rows on either side. */
export function rangeOf({ columns, step }, shown, top, bottom, spare) {
  const first = Math.max(0, Math.floor(top / step) - spare) * columns;
  const last = Math.min(shown, (Math.floor(Math.max(0, bottom) / step) + 1 + spare) * columns);
  return [Math.min(first, shown), Math.max(last, 0)];
}

export function positionOf({ columns, step }, at) {
  return { x: (at % columns) * step, y: Math.floor(at / columns) * step };
}
