// What a session was asked for, how far its photos are, and what it waits for or has failed of.

import { get, listPath } from "/page/api.js";
import { element } from "/page/dom.js";
import { count, duration, moment, photos, secondsBetween } from "/page/words.js";

const MOST_SUBFOLDERS = 100;

/** The session's own data as a list of terms. */
export function factList() {
  const node = element("dl", { class: "facts" });
  let chosen = null;

  async function readSubfolders(sessionId, signal) {
    const page = await get(listPath(`/training/sessions/${sessionId}/subdirectories`, MOST_SUBFOLDERS), signal);
    const names = page.items.filter((one) => one.selected).map((one) => one.path);
    chosen = names.length ? names.join(", ") + (page.nextPageToken ? ", …" : "") : null;
  }

  function update(session) {
    const facts = [
      ["Only", chosen && element("span", { class: "path" }, chosen)],
      ["Photos of", session.sourceSessionId && sourceLink(session.sourceSessionId)],
      ["Photos", session.images.total ? photosOf(session.images) : null],
      ["Category", session.category],
      ["Faces", facesOf(session.faceDetection)],
      ["Created", moment(session.createdAt)],
      ["Took", tookOf(session)],
    ];
    node.replaceChildren(...facts.filter(([, value]) => value).map(([term, value]) => (
      element("div", {}, element("dt", {}, term), element("dd", {}, value)))));
  }

  return { node, update, readSubfolders };
}

function sourceLink(id) {
  return element("a", { href: `#/sessions/${id}` }, `session ${id}`);
}

function photosOf({ total, unchanged, skipped }) {
  const parts = [photos(total)];
  if (unchanged) parts.push(`${count(unchanged)} unchanged`);
  if (skipped) parts.push(`${count(skipped)} skipped`);
  return parts.join(", ");
}

function facesOf({ enabled, minConfidence, minFaceSize }) {
  if (!enabled) return "Off";
  return `from ${count(minFaceSize)} px, confidence from ${minConfidence}`;
}

function tookOf({ startedAt, completedAt }) {
  return startedAt && completedAt ? duration(secondsBetween(startedAt, completedAt)) : null;
}

/** What finding the photos had to say, in sentences; hidden while there is nothing. */
export function noteList() {
  const node = element("ul", { class: "notes", "aria-label": "Notes", hidden: true });

  function update({ notes }) {
    node.replaceChildren(...notes.map((note) => element("li", {}, note)));
    node.hidden = notes.length === 0;
  }

  return { node, update };
}

/** Why nothing happens just now, or why it failed; hidden otherwise. */
export function callout() {
  const node = element("div", { class: "notice", role: "status", hidden: true });
  let told = "";

  function update({ waiting, failure }) {
    const why = failure ?? waiting;
    const key = JSON.stringify(why ?? null);
    if (key === told) return; // telling it anew would read it out again
    told = key;
    node.hidden = !why;
    node.classList.toggle("danger", Boolean(failure));
    node.replaceChildren(...(why ? sentenceOf(why, failure ? "Failed" : "Waiting") : []));
  }

  return { node, update };
}

function sentenceOf({ code, message, since }, word) {
  const parts = [element("strong", {}, `${word}: `), message, " ", element("code", {}, code)];
  return since ? [...parts, " since ", moment(since)] : parts;
}
