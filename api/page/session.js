// One session: how far it is, what became of its photos, and what may be asked of it.

import { actionBar } from "/page/actions.js";
import { get } from "/page/api.js";
import { element } from "/page/dom.js";
import { faceCard } from "/page/faces.js";
import { callout, factList, noteList } from "/page/facts.js";
import { failureTable } from "/page/failures.js";
import { LiveProgress } from "/page/live.js";
import { progressPanel } from "/page/progress.js";
import { leaveFor } from "/page/scroll.js";
import { sessionHead } from "/page/session_head.js";
import { folderName, isActive, percent, phaseName } from "/page/words.js";

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
  #reading = false;
  #live;

  constructor(context, id) {
    const { signal, system } = context;
    this.id = id;
    this.#context = context;
    this.#parts = {
      head: sessionHead(id), callout: callout(), progress: progressPanel(system), facts: factList(), notes: noteList(),
      actions: actionBar({ sessionId: id, onAnswer: (session) => this.#answered(session), onDeleted: leaveForList }),
      faces: faceCard({ sessionId: id, signal }), failures: failureTable({ sessionId: id, signal }),
    };
    this.node = layout(this.#parts, system.role === "operator");
    this.#live = new LiveProgress(id, signal, {
      onProgress: (progress) => this.#moved(progress), onTrouble: (error) => this.#troubled(error),
      isAwaited: () => this.#parts.actions.isAwaited(),
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

  // The session itself changes when a status does; its counts are final when it ends. What was asked of it may be
  // done between two looks at its progress.
  async #readAgain(progress) {
    const settled = settledOf(progress);
    const isAwaited = this.#parts.actions.isAwaited() && !this.#reading;
    if (settled === this.#settled && !isAwaited) return;
    const before = this.#settled;
    this.#settled = settled;
    this.#reading = true;
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
    } finally {
      this.#reading = false;
    }
  }

  #show(session) {
    this.#session = session;
    this.#parts.head.update(session);
    this.#parts.progress.describe(session);
    this.#parts.facts.update(session);
    this.#parts.notes.update(session);
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
    if (error) this.#parts.progress.forgetRate(); // it would count the time in which nothing was heard
    if (error?.status !== 404 && error?.status !== 422) { // 422: a number that no session can have
      this.#context.tellTrouble(error);
      return;
    }
    this.#context.tellTrouble(null);
    this.node.replaceChildren(element("h1", {}, "There is no such session"), element("p", {}, error.message));
  }
}

function settledOf({ overallStatus, waiting, phases }) {
  const numbers = Object.values(phases).map(({ status, progress: { total, failed } }) => (
    `${status} ${total} ${isActive(overallStatus) ? "" : failed}`));
  return [overallStatus, waiting?.code, ...numbers].join();
}

function layout(parts, isOperator) {
  return element(
    "div", { class: "session" },
    parts.head.node, isOperator ? parts.actions.node : null, parts.callout.node, parts.progress.node,
    element("section", { class: "card", "aria-label": "About this session" }, parts.facts.node, parts.notes.node),
    parts.faces.node, parts.failures.node,
  );
}

const leaveForList = () => leaveFor("#/sessions");
