// One session: how far it is, what became of its photos, and what may be asked of it.

import { actionBar } from "/page/actions.js";
import { get } from "/page/api.js";
import { element, setText } from "/page/dom.js";
import { faceCard } from "/page/faces.js";
import { callout, factList } from "/page/facts.js";
import { failureTable } from "/page/failures.js";
import { LiveProgress } from "/page/live.js";
import { progressPanel } from "/page/progress.js";
import { folderName, percent, phaseName, statusWord } from "/page/words.js";

const AGAIN_MS = 2_000;

export function sessionView(main, context) {
  const view = new SessionView(context, Number(context.parameters[0]));
  main.append(view.node);
  context.title(`Session ${view.id}`);
}

class SessionView {
  #context;
  #parts;
  #session = null;
  #progress = null;
  #settled = ""; // what the session was last read for
  #live;

  constructor(context, id) {
    const { signal, system } = context;
    this.id = id;
    this.#context = context;
    this.#parts = {
      folder: element("h1"), parent: element("p", { class: "path" }), status: element("span", { class: "chip" }),
      callout: callout(), progress: progressPanel(system), facts: factList(),
      actions: actionBar({ sessionId: id, onAnswer: (session) => this.#answered(session), onDeleted: leaveForList }),
      faces: faceCard({ sessionId: id, signal }), failures: failureTable({ sessionId: id, signal }),
    };
    this.node = layout(this.#parts, id, system.role === "operator");
    this.#live = new LiveProgress(id, signal, {
      onProgress: (progress) => this.#moved(progress), onTrouble: (error) => this.#troubled(error),
    });
  }

  #moved(progress) {
    this.#tellChange(this.#progress, progress);
    this.#progress = progress;
    this.#parts.progress.update(progress);
    this.#showCallout();
    this.#showFailures();
    const { name } = folderName(this.#session?.rootPath ?? `session ${this.id}`);
    this.#context.title(`${percent(progress.overallProgress.percentage)} · ${name}`);
    this.#readAgain(progress);
  }

  // The session itself changes when a status does; its counts are final when it ends.
  async #readAgain(progress) {
    const statuses = Object.values(progress.phases).map((phase) => `${phase.status} ${phase.progress.total}`);
    const settled = [progress.overallStatus, progress.waiting?.code, ...statuses].join();
    if (settled === this.#settled) return;
    const before = this.#settled;
    this.#settled = settled;
    try {
      if (!before) await this.#parts.facts.readSubfolders(this.id, this.#context.signal);
      const session = await get(`/training/sessions/${this.id}`, this.#context.signal);
      if (this.#settled !== settled) return; // it has moved on, and is being read for that
      this.#show(session);
      if (progress.phases.faceDetection.status === "completed") await this.#parts.faces.refresh();
    } catch (error) {
      if (this.#context.signal.aborted) return;
      this.#troubled(error);
      if (this.#settled === settled) this.#settled = before;
      setTimeout(() => this.#context.signal.aborted || this.#readAgain(this.#progress), AGAIN_MS);
    }
  }

  #show(session) {
    const { name, parent } = folderName(session.rootPath);
    this.#session = session;
    setText(this.#parts.folder, name);
    setText(this.#parts.parent, parent);
    setText(this.#parts.status, statusWord(session));
    this.#parts.status.dataset.status = session.overallStatus;
    this.#parts.progress.nameEngine(session.faceDetection.engine);
    this.#parts.facts.update(session);
    this.#parts.actions.update(session);
    this.#showCallout();
    this.#showFailures();
  }

  #showFailures() {
    if (!this.#session || !this.#progress) return;
    const { training, faceDetection } = this.#progress.phases;
    this.#parts.failures.refresh(training.progress.failed + faceDetection.progress.failed, this.#session.rootPath);
  }

  #answered(session) {
    this.#show(session);
    this.#settled = "again";
    this.#live.restart();
  }

  #showCallout() {
    const ended = this.#progress?.overallStatus === "failed";
    this.#parts.callout.update({ waiting: this.#progress?.waiting, failure: ended ? this.#session?.failure : null });
  }

  // Statuses are announced, percentages are not: they are there to be looked up.
  #tellChange(before, now) {
    if (!before) return;
    const words = Object.entries(now.phases)
      .filter(([name, phase]) => phase.status !== before.phases[name].status)
      .map(([name, phase]) => `${phaseName(name)} ${phase.status}`);
    if (now.overallStatus !== before.overallStatus) words.push(`Session ${now.overallStatus}`);
    if (words.length) this.#context.announce(words.join(". "));
  }

  #troubled(error) {
    if (error?.status !== 404) {
      this.#context.tellTrouble(error);
      return;
    }
    this.#context.tellTrouble(null);
    this.node.replaceChildren(element("h1", {}, "There is no such session"), element("p", {}, error.message));
  }
}

function layout(parts, id, isOperator) {
  const node = element(
    "div", { class: "session" },
    element(
      "header", { class: "session-head" },
      element("div", {}, parts.folder, parts.parent), parts.status, element("span", { class: "hint" }, `#${id}`),
    ),
    isOperator ? parts.actions.node : null,
    parts.callout.node, parts.progress.node,
    element("section", { class: "card", "aria-label": "About this session" }, parts.facts.node),
    parts.faces.node, parts.failures.node,
  );
  return node;
}

function leaveForList() {
  location.hash = "#/sessions";
}
