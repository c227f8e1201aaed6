// The bar of one phase.

import { element, setOptionalText, setText } from "/page/dom.js";
import { count, isEngine, percent, phaseName } from "/page/words.js";

export const GOING = new Set(["running", "processing"]);
const NOTHING = "Nothing to do";

/** A phase's label, bar and note; `faceEngine` is the one that is set, until the session has chosen. */
export function phaseBar(name, faceEngine) {
  const label = element("span", { class: "phase-label", id: `phase-${name}` });
  const counts = element("span", { class: "number" });
  const bar = element("progress", { max: "100", "aria-labelledby": `phase-${name}` });
  const failed = element("span", { class: "failed-count", hidden: true });
  const note = element("span");
  const node = element(
    "li", { class: "phase" },
    element("div", { class: "phase-head" }, label, counts), bar, element("div", { class: "phase-note" }, note, failed),
  );
  let phase = null;
  let session = null;

  function update(now) {
    phase = now;
    show();
  }

  function describe(now) {
    session = now;
    if (phase) show();
  }

  function show() {
    const { status, progress } = phase;
    const chosen = session?.faceDetection.engine;
    node.dataset.status = status;
    setText(label, `${phaseName(name, isEngine(chosen) ? chosen : faceEngine, session ?? {})}: ${reachedOf(phase)}`);
    setText(counts, countsOf(phase));
    fill(bar, status, progress.percentage, false);
    setText(note, noteOf(name, phase, session));
    setOptionalText(failed, progress.failed ? `${count(progress.failed)} failed` : null);
  }

  return { name, node, update, describe };
}

export function fill(bar, status, percentage, indeterminate) {
  bar.dataset.status = status;
  if (indeterminate) bar.removeAttribute("value");
  else bar.value = percentage;
}

const reachedOf = ({ status, progress }) => (status === "skipped" ? status : percent(progress.percentage));

function countsOf({ status, progress: { current, total } }) {
  return status === "skipped" || !total ? "" : `${count(current)} of ${count(total)}`;
}

function noteOf(name, phase, session) {
  const { status, progress } = phase;
  if (status === "skipped") return whySkipped(name, session);
  if (status === "completed" && progress.total === 0) return name === "training" ? "Nothing new to embed" : NOTHING;
  const weight = Math.round(phase.weight * 10) / 10;
  const word = GOING.has(status) ? "running" : status;
  return weight ? `${word} · weight ${percent(weight)}` : word;
}

// Training is skipped only where a session was made to look for faces alone.
function whySkipped(name, session) {
  if (name === "training") return "Photos were embedded before";
  if (name === "clustering" && session?.assignOnly) return "Groups stay as they are";
  return session?.faceDetection.enabled === false ? "Switched off" : NOTHING;
}
