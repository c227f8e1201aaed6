// What a session of the chosen photos will cost, from what sessions here have cost before.

import { get, queried } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { count, duration, photos } from "/page/words.js";

const TYPING_MS = 300;

/** A line that tells it. `estimate(rootPath, subdirectories, faces)` is called whenever the choice is another. */
export function estimateLine(signal) {
  const node = element("p", { class: "estimate", role: "status" });
  let timer = 0;
  let asked = 0;

  function estimate(rootPath, subdirectories, faces) {
    clearTimeout(timer);
    asked += 1;
    if (!rootPath) setText(node, "");
    else timer = setTimeout(() => read(asked, { rootPath, subdirectory: subdirectories, faces }), TYPING_MS);
  }

  async function read(mine, choice) {
    try {
      const found = await get(queried("/training/estimate", choice), signal);
      if (mine === asked) setText(node, sentenceOf(found, choice.faces));
    } catch {
      if (mine === asked) setText(node, ""); // what is wrong with the folder is said beside it
    }
  }

  signal.addEventListener("abort", () => clearTimeout(timer));
  return { node, estimate };
}

function sentenceOf({ images, known, seconds, sessionsMeasured }, faces) {
  if (images.count === 0 && images.exact) return "No photos in there.";
  const many = images.exact ? photos(images.count) : `${photos(images.count)} or more`;
  const done = faces ? Math.min(known.embedded, known.searched) : known.embedded;
  if (images.exact && done >= images.count) return `${many}, all of them done before: a few seconds.`;
  const what = `${many}${done ? `, ${count(done)} of them done before` : ""}`;
  if (seconds === null) return `${what}. How long that takes is not known yet: it is measured as sessions run.`;
  const measured = sessionsMeasured === 1 ? "the last session" : `the last ${count(sessionsMeasured)} sessions`;
  const time = seconds < 5 ? "a few seconds" : `about ${duration(seconds)}`;
  return `${what}: ${time} here, measured over ${measured}.`;
}
