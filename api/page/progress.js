// The bars: one over all, and one a phase.

import { element, setOptionalText, setText } from "/page/dom.js";
import { Rate } from "/page/rate.js";
import { count, headline, isEngine, percent, perSecond, phaseName, photos, timeLeft } from "/page/words.js";

const PHASES = ["training", "faceDetection", "clustering"];
const GOING = new Set(["running", "processing"]);

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

  /** The engine that was chosen for the session; until then the label names the one that is set. */
  function nameEngine(engine) {
    if (isEngine(engine)) phases.forEach((phase) => phase.nameEngine(engine));
  }

  return { node, update, nameEngine };
}

/** Photos are being found: there is no total yet, so there is no percentage to believe. */
export function isDiscovering({ overallStatus, phases }) {
  return overallStatus === "running" && phases.training.weight === null;
}

function outlookOf(progress, rate) {
  const { overallStatus, overallProgress, filesFound } = progress;
  if (isDiscovering(progress)) return `${photos(filesFound)} found so far`;
  if (overallStatus === "pending") return "Not begun yet";
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
  return name ? rate.add(name, phases[name].progress.current, performance.now()) : null;
}

function phaseBar(name, faceEngine) {
  let title = phaseName(name, faceEngine);
  let shown = "";
  const label = element("span", { class: "phase-label", id: `phase-${name}` });
  const counts = element("span", { class: "number" });
  const bar = element("progress", { max: "100", "aria-labelledby": `phase-${name}` });
  const failed = element("span", { class: "failed-count", hidden: true });
  const note = element("span");
  const node = element(
    "li", { class: "phase" },
    element("div", { class: "phase-head" }, label, counts), bar, element("div", { class: "phase-note" }, note, failed),
  );

  function update({ status, weight, progress }) {
    const skipped = status === "skipped";
    node.dataset.status = status;
    shown = skipped ? "skipped" : percent(progress.percentage);
    setText(label, `${title}: ${shown}`);
    setText(counts, skipped || progress.total === null ? "" : `${count(progress.current)} of ${count(progress.total)}`);
    fill(bar, status, progress.percentage, false);
    setText(note, noteOf(status, weight));
    setOptionalText(failed, progress.failed ? `${count(progress.failed)} failed` : null);
  }

  function nameEngine(engine) {
    title = phaseName(name, engine);
    setText(label, `${title}: ${shown}`);
  }

  return { name, node, update, nameEngine };
}

function noteOf(status, weight) {
  if (status === "skipped") return "Nothing to do";
  const word = GOING.has(status) ? "running" : status;
  return weight === null ? word : `${word} · weight ${percent(Math.round(weight * 10) / 10)}`;
}

function fill(bar, status, percentage, indeterminate) {
  bar.dataset.status = status;
  if (indeterminate) bar.removeAttribute("value");
  else bar.value = percentage;
}
