// What photos are looked for: in the address, so that links and Back work, and as the API is asked.

import { queried } from "/page/api.js";

const ONE = ["text", "similarTo", "takenFrom", "takenTo"];
const SEVERAL = ["personId", "categoryId"];

/** Of an address's query; what is not known is left out. */
export function searchOf(query) {
  const search = Object.fromEntries(ONE.map((name) => [name, query.get(name)?.trim() || null]));
  for (const name of SEVERAL) search[name] = [...new Set(query.getAll(name).filter(isId))].map(Number);
  if (!isId(search.similarTo ?? "")) search.similarTo = null;
  return search;
}

export const addressOf = (search) => queried("#/photos", search);
export const photoAddress = (id, search, at) => queried(`#/photos/${id}`, { ...search, at });

/** The path to read: `more` holds limit, skip or pageToken. */
export const pathOf = (search, more) => queried("/search", { ...search, ...more });

/** Whether photos come by how alike they are, not by time: then nobody knows how many there are. */
export const isRanked = ({ text, similarTo }) => Boolean(text || similarTo);

export const isFiltered = (search) => Object.values(search).flat().some((value) => value !== null);

const isId = (text) => /^\d{1,18}$/.test(text);
