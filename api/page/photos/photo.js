// One photo, large, with who is in it.

import { get } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { onPeopleChanged } from "/page/parts/changes.js";
import { onKeys } from "/page/parts/keys.js";
import { onSwipe } from "/page/parts/swipe.js";
import { faceMenu } from "/page/photos/face_menu.js";
import { know, knownImage } from "/page/photos/known.js";
import { Neighbours } from "/page/photos/neighbours.js";
import { photoSide } from "/page/photos/photo_side.js";
import { addressOf, searchOf } from "/page/photos/search_state.js";
import { similarStrip } from "/page/photos/similar.js";
import { photoStage } from "/page/photos/stage.js";
import { backLink, goBack } from "/page/scroll.js";
import { folderName } from "/page/words.js";

export function photoView(main, context) {
  const { parameters: [id], query, signal, title, mayChange } = context;
  const { href: back, label } = wayBack(query);
  const neighbours = new Neighbours(id, query, signal);
  const stage = photoStage({ mayChange, onFace: (face, box) => menu.open(face, box) });
  const menu = faceMenu({ into: stage.picture, signal, onDone: focusFace });
  const openMenu = (face) => menu.open(face, stage.boxOf(face.id));
  const side = photoSide(id, { mayChange, onFace: openMenu, toggle: stage.toggle });
  const trouble = element("p", { class: "notice danger", role: "alert", hidden: true });
  const strip = similarStrip(id, signal);
  const node = element("article", { class: "photo-view" }, stage.node, side.node);
  let faces = [];

  async function readImage() {
    if (knownImage(id)) showImage(knownImage(id));
    const image = await get(`/images/${id}`, signal);
    know(image);
    showImage(image);
    if (!image.missingSince && !image.broken) strip.read();
  }

  function showImage(image) {
    title(folderName(image.path).name);
    stage.show(image);
    side.show(image);
  }

  async function readFaces() {
    const page = await get(`/images/${id}/faces?limit=200`, signal);
    faces = page.items;
    stage.showFaces(faces);
    side.showFaces(faces);
  }

  async function focusFace(faceId, hasChanged) {
    if (hasChanged) await readFaces().catch(() => {});
    (stage.boxOf(faceId) ?? side.faceOf(faceId))?.focus();
  }

  async function read() {
    try {
      await readImage();
      await readFaces();
      setOptionalText(trouble, null);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      if (error.status === 404 || error.status === 422) sayGone(main, title, back);
      else setOptionalText(trouble, error.message);
    }
  }

  main.append(backLink(back, label), trouble, node, strip.node);
  stage.node.append(...neighbours.links);
  onSwipe(stage.node, (by) => neighbours.go(by));
  onPeopleChanged(signal, () => readFaces().catch(() => {}));
  onKeys(signal, {
    ArrowLeft: () => neighbours.go(-1), ArrowRight: () => neighbours.go(1), f: stage.toggle.flip,
    Escape: () => menu.close() || goBack(back),
  });
  neighbours.read();
  return read();
}

/** To what this photo was opened from, else to the list that its address is of. */
function wayBack(query) {
  const behind = history.state?.behind;
  const isList = !behind || /^#\/photos(\?|$)/.test(behind);
  return { href: behind || addressOf(searchOf(query)), label: isList ? "Photos" : "Back" };
}

function sayGone(main, title, back) {
  title("No photo");
  main.replaceChildren(
    element("h1", {}, "There is no such photo"),
    element("p", {}, "It was removed here, or lies outside the folders that may be read. ",
      element("a", { href: back }, "See all photos")),
  );
}
