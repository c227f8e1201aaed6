// Numbers, times and statuses in people's words.

import { element } from "/page/dom.js";

const ACTIVE = new Set(["pending", "running", "paused"]);
const ENGINES = { insightface: "InsightFace", dlib: "dlib" };
const NUMBER = new Intl.NumberFormat("en");
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
// When a photo was taken is written as UTC, and is what the camera's clock showed.
const CAMERA = { timeZone: "UTC" };
const TAKEN = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", ...CAMERA });
const DAY_TAKEN = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", ...CAMERA });
const MONTH_TAKEN = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", ...CAMERA });

export const isEngine = (name) => Object.hasOwn(ENGINES, name ?? "");
export const isActive = (overallStatus) => ACTIVE.has(overallStatus);
export const count = (number) => NUMBER.format(number);
export const percent = (percentage) => `${percentage}%`;
export const photos = (number) => `${count(number)} ${number === 1 ? "photo" : "photos"}`;
export const faces = (number) => `${count(number)} ${number === 1 ? "face" : "faces"}`;

/** The one line that says how a session is doing. */
export function headline({ overallStatus, overallProgress }) {
  const reached = percent(overallProgress.percentage);
  switch (overallStatus) {
    case "paused": return `Paused at ${reached}`;
    case "completed": return `Completed: ${reached}`;
    case "failed": return `Failed at ${reached}`;
    case "cancelled": return `Cancelled at ${reached}`;
    default: return `Processing Training Pipeline: ${reached}`;
  }
}

/** A phase's name; face detection's with the engine, where one is chosen. */
export function phaseName(name, faceEngine, { assignOnly = false } = {}) {
  if (name === "training") return "Training";
  if (name === "clustering") return "Clustering";
  if (assignOnly) return "Recognising People";
  return isEngine(faceEngine) ? `Face Detection (${ENGINES[faceEngine]})` : "Face Detection";
}

/** A session's status, and what was asked of it and has not happened yet. */
export function statusWord({ overallStatus, requested, trainingStatus }) {
  if (!isActive(overallStatus)) return overallStatus;
  if (requested === "cancel") return "cancelling";
  if (requested === "pause" && overallStatus !== "paused") return "pausing";
  if (overallStatus === "pending" && trainingStatus === "running") return "starting";
  return overallStatus;
}

/** "12 min", "3 h 20 min", "2 days": as exact as anybody would say it. */
export function duration(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  const rest = minutes % 60;
  return rest && hours < 10 ? `${hours} h ${rest} min` : `${hours} h`;
}

export const timeLeft = (seconds) => (seconds < 5 ? "a few seconds left" : `about ${duration(seconds)} left`);

export const perSecond = (rate) => (rate >= 10 ? count(Math.round(rate)) : String(Math.round(rate * 10) / 10));

/** A moment in this browser's time zone. */
export function moment(iso) {
  return element("time", { datetime: iso }, MOMENT.format(new Date(iso)));
}

/** When a photo was taken, its day and its month, in words; nothing where that is not known. */
export const taken = (iso) => (iso ? TAKEN.format(new Date(iso)) : "");
export const dayTaken = (iso) => (iso ? DAY_TAKEN.format(new Date(iso)) : "");
export const monthTaken = (iso) => (iso ? MONTH_TAKEN.format(new Date(iso)) : "");

export const secondsBetween = (from, to) => Math.max(0, (new Date(to) - new Date(from)) / 1000);

/** The last part of a path, and what stands before it. */
export function folderName(path) {
  if (path === "/") return { name: "All photos", parent: "" };
  const cut = path.lastIndexOf("/");
  return { name: path.slice(cut + 1) || path, parent: path.slice(0, cut) || "/" };
}

/** What is left of a path below this root, or all of it. */
export const pathInside = (path, root) => (path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path);

/** "only 2028", "only 2027, 2028 and 4 more": which of its root's folders a session is about; null where all are. */
export function onlyWord({ subdirectories, subdirectoryCount, assignOnly }) {
  if (assignOnly) return "recognising people again";
  if (!subdirectoryCount) return null;
  if (subdirectoryCount <= subdirectories.length) return `only ${subdirectories.join(", ")}`;
  const named = subdirectories.slice(0, 2);
  return `only ${named.join(", ")} and ${count(subdirectoryCount - named.length)} more`;
}
