// The request for a new session from what the form holds, or what has to be mended in it first.

import { count } from "/page/words.js";

const MOST_PX = 100_000;

/** What is wrong, as `{ field, message }` by the API's names; the rest the server knows best. */
export function mistakesIn({ root, faces, minConfidence, minFaceSize }) {
  const mistakes = [];
  if (!root.value.trim()) mistakes.push({ field: "rootPath", message: "Choose a folder first." });
  if (!faces.checked) return mistakes;
  if (!isBetween(0, 1, minConfidence)) {
    mistakes.push({ field: "faceDetection.minConfidence", message: "Type a number from 0 to 1, such as 0.5." });
  }
  if (!isBetween(1, MOST_PX, minFaceSize)) {
    const message = `Type a number of pixels: 1 or more, at most ${count(MOST_PX)}.`;
    mistakes.push({ field: "faceDetection.minFaceSize", message });
  }
  return mistakes;
}

/** The request; a number that is left out is the server's to choose. */
export function sessionRequest({ root, category, faces, minConfidence, minFaceSize }, { subdirectories }) {
  const faceDetection = { enabled: faces.checked };
  if (faces.checked && isTyped(minConfidence)) faceDetection.minConfidence = Number(minConfidence.value);
  if (faces.checked && isTyped(minFaceSize)) faceDetection.minFaceSize = Number(minFaceSize.value);
  return { rootPath: root.value, subdirectories, category: category.value.trim() || null, faceDetection };
}

const isTyped = (input) => input.value.trim() !== "";

function isBetween(least, most, input) {
  const number = Number(input.value);
  return !isTyped(input) || (number >= least && number <= most);
}
