// What may be asked of a session: pause, resume, cancel, retry, delete.

import { get, post, remove } from "/page/api.js";
import { confirmed } from "/page/dialog.js";
import { element } from "/page/dom.js";
import { passingNotice } from "/page/notice.js";
import { isActive } from "/page/words.js";

const goesOn = (session) => isActive(session.overallStatus) && session.requested !== "cancel";
const isPaused = (session) => session.overallStatus === "paused";
const asksPause = (session) => session.requested === "pause";
const hasFailed = ({ overallStatus, images }) => (
  overallStatus === "failed" || (overallStatus === "completed" && images.failed > 0));

const ACTIONS = [
  { name: "pause", label: "Pause", when: (session) => goesOn(session) && !asksPause(session) && !isPaused(session) },
  { name: "resume", label: "Resume", when: (session) => goesOn(session) && (asksPause(session) || isPaused(session)) },
  { name: "retry", label: "Retry failed", when: hasFailed },
  { name: "cancel", label: "Cancel", when: goesOn, ask: {
    question: "Cancel this session?", consequence: "It cannot be resumed. What it has found so far stays.",
    yes: "Cancel the session", no: "Keep it going",
  } },
  { name: "delete", label: "Delete", when: (session) => !isActive(session.overallStatus), ask: {
    question: "Delete this session?", consequence: "It leaves the list. Your photos, and what it found in them, stay.",
    yes: "Delete the session", no: "Keep it",
  } },
];

/** The buttons. `onAnswer(session)` is told what became of the session, `onDeleted` that it is gone. */
export function actionBar({ sessionId, onAnswer, onDeleted }) {
  const path = `/training/sessions/${sessionId}`;
  const notice = passingNotice();
  const buttons = ACTIONS.map((action) => element("button", {
    type: "button", disabled: true, "data-action": action.name, onclick: () => act(action),
  }, action.label));
  const bar = element("div", { class: "buttons", role: "group", "aria-label": "Actions" }, ...buttons);
  let session = null;

  async function act({ name, ask: question }) {
    if (question && !(await confirmed(question))) return;
    notice.say(null, session);
    enable(() => false);
    try {
      if (name === "delete") {
        await remove(path);
        onDeleted();
        return;
      }
      const answer = await post(`${path}/${name}`);
      onAnswer(answer.session);
      notice.say(answer.message, answer.session);
    } catch (error) {
      await refuse(error);
    }
  }

  // A conflict means that the session is not what it looked like here.
  async function refuse(error) {
    const now = error.status === 409 ? await get(path).catch(() => null) : null;
    if (now) onAnswer(now);
    else update(session);
    notice.refuse(error.message, session);
  }

  function update(now) {
    session = now;
    notice.update(now);
    enable((action) => action.when(now));
  }

  // A button that is switched off loses the focus, and with it a keyboard user's place.
  function enable(may) {
    const hadFocus = bar.contains(document.activeElement) || document.activeElement === bar;
    buttons.forEach((button, i) => {
      button.disabled = !may(ACTIONS[i]);
    });
    if (hadFocus && document.activeElement?.disabled !== false) focusFirst();
  }

  function focusFirst() {
    bar.tabIndex = -1;
    (buttons.find((button) => !button.disabled) ?? bar).focus();
  }

  const node = element("div", { class: "actions" }, bar, ...notice.nodes);
  return { node, update, isAwaited: notice.isAwaited };
}
