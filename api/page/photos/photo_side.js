// Beside a photo: who is in it, and what is known of the file.

import { queried } from "/page/api.js";
import { arrange, element } from "/page/dom.js";
import { facePicture, faceWord } from "/page/parts/face.js";
import { count, folderName, taken } from "/page/words.js";

/** `onFace(face)` is told when a face is chosen. */
export function photoSide(id, { mayChange, onFace, toggle }) {
  const name = element("h1");
  const faces = element("ul", { class: "photo-faces", "aria-label": "People in this photo" });
  const none = element("p", { class: "hint", hidden: true });
  const facts = element("dl", { class: "facts" });
  const similar = element("a", { class: "button", href: queried("#/photos", { similarTo: id }) }, "Similar photos");
  const made = new Map(); // face id -> { key, node }
  const node = element("aside", { class: "photo-side", "aria-label": "About this photo", hidden: true },
    name, faces, none, element("div", { class: "buttons" }, similar, toggle.node), facts);

  function show(image) {
    node.hidden = false;
    const { name: file, parent } = folderName(image.path);
    name.textContent = file;
    similar.hidden = Boolean(image.missingSince ?? image.broken);
    none.textContent = image.faces === null ? "Nobody has looked for faces in it yet." : "No faces found.";
    const known = [
      ["Taken", taken(image.takenAt)],
      ["Size", image.width && `${count(image.width)} × ${count(image.height)} px`],
      ["Category", image.category],
      ["Folder", element("span", { class: "path" }, parent)],
    ];
    facts.replaceChildren(...known.filter(([, value]) => value).map(([term, value]) => (
      element("div", {}, element("dt", {}, term), element("dd", {}, value)))));
  }

  function showFaces(now) {
    const nodes = now.map((face) => {
      const key = `${face.person?.name} ${face.ignored}`;
      if (made.get(face.id)?.key !== key) made.set(face.id, { key, node: faceItem(face) });
      return made.get(face.id).node;
    });
    arrange(faces, nodes);
    none.hidden = now.length > 0;
    toggle.node.hidden = now.length === 0;
  }

  function faceItem(face) {
    const parts = [facePicture(face), element("span", {}, faceWord(face))];
    const link = face.person && element("a", { href: `#/people/${face.person.id}` }, ...parts);
    const change = mayChange && element("button", {
      type: "button", class: "link", "aria-label": `${faceWord(face)}: change`, onclick: () => onFace(face),
    }, face.person ? "Change" : "Name");
    const who = link || element("span", { class: "who" }, ...parts);
    return element("li", { class: face.ignored && "ignored" }, who, change || null);
  }

  return { node, show, showFaces, faceOf: (faceId) => made.get(faceId)?.node.querySelector("button") ?? null };
}
