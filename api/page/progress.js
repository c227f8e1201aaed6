// The bars: one over all, and one a phase.

import { element, setOptionalText, setText } from "/page/dom.js";
import { fill, GOING, phaseBar } from "/page/phase.js";
import { Rate } from "/page/rate.js";
import { headline, perSecond, photos, timeLeft } from "/page/words.js";

const PHASES = ["training", "faceDetection", "clustering"];

/** The overall bar with what there is to say about time, and the bars of the phases. */
export function progressPanel({ faceEngine }) {
  const line = element("h2", { class: "headline", id: "headline" });
  const bar = element("progress", { class: "large", max: "100", "aria-labelledby": "headline" });
  const outlook = element("p", { class: "outlook" });
  const phases = PHASES.map((name) => phaseBar(name, faceEngine));
  const rate = new Rate();
  const node = element(
    "section", { class: "card", "aria-label": "Progress" },
    line, bar, outlook, element("ul", { class: "phases" }, ...phases.map((phase) => phase.node)),
  );

  function update(progress) {
    setText(line, headline(progress));
    fill(bar, progress.overallStatus, progress.overallProgress.percentage, isDiscovering(progress));
    setOptionalText(outlook, outlookOf(progress, rateOf(rate, progress)));
    phases.forEach((phase) => phase.update(progress.phases[phase.name]));
  }

  /** What the session is: the engine chosen for it, and why it leaves a phase out. */
  function describe(session) {
    phases.forEach((phase) => phase.describe(session));
  }

  return { node, update, describe, forgetRate: () => rate.reset() };
}

/** Photos are being found: there is no total yet, so there is no percentage to believe. */
export function isDiscovering({ overallStatus, phases }) {
  return overallStatus === "running" && phases.training.weight === null;
}

const isStarting = (phases) => Object.values(phases).some((phase) => GOING.has(phase.status));

function outlookOf(progress, rate) {
  const { overallStatus, overallProgress, filesFound } = progress;
  if (isDiscovering(progress)) return `${photos(filesFound)} found so far`;
  if (overallStatus === "pending") return isStarting(progress.phases) ? "Starting…" : "Not begun yet";
  if (overallStatus === "completed") return failedWord(progress.phases);
  if (overallStatus !== "running" || progress.waiting) return null;
  const left = overallProgress.etaSeconds === null ? "Time left not known yet" : timeLeft(overallProgress.etaSeconds);
  return rate ? `${left} · ${perSecond(rate)} photos/s` : left;
}

function failedWord({ training, faceDetection }) {
  const failed = training.progress.failed + faceDetection.progress.failed;
  return failed ? "All but the photos that failed; the reasons are below." : null;
}

// Clustering counts faces, in leaps; its rate says nothing.
function rateOf(rate, { phases }) {
  const name = ["training", "faceDetection"].find((one) => GOING.has(phases[one].status));
  if (name) return rate.add(name, phases[name].progress.current, performance.now());
  rate.reset(); // what is paused goes at no speed
  return null;
}
