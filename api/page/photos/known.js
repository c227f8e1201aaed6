// Photos that lists have shown, so that one that is opened is there at once.

const KEPT = 3_000;
const images = new Map();

export function know(image) {
  images.delete(image.id);
  images.set(image.id, image);
  if (images.size > KEPT) images.delete(images.keys().next().value);
}

export const knownImage = (id) => images.get(Number(id)) ?? null;
