// What may be asked of a session: pause, resume, cancel, retry, delete.

import { post, remove } from "/page/api.js";
import { confirmed } from "/page/dialog.js";
import { element, setOptionalText } from "/page/dom.js";
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
  const said = element("p", { class: "hint", role: "status" });
  const refused = element("p", { class: "notice danger", role: "alert", hidden: true });
  const buttons = ACTIONS.map((action) => element("button", {
    type: "button", disabled: true, "data-action": action.name, onclick: () => act(action),
  }, action.label));
  const bar = element("div", { class: "buttons", role: "group", "aria-label": "Actions" }, ...buttons);
  let session = null;

  async function act({ name, ask: question }) {
    if (question && !(await confirmed(question))) return;
    setOptionalText(refused, null);
    enable(() => false);
    try {
      if (name === "delete") {
        await remove(`/training/sessions/${sessionId}`);
        onDeleted();
        return;
      }
      const answer = await post(`/training/sessions/${sessionId}/${name}`);
      said.textContent = answer.message;
      onAnswer(answer.session);
    } catch (error) {
      setOptionalText(refused, error.message);
      update(session);
    }
  }

  function update(now) {
    session = now;
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

  return { node: element("div", { class: "actions" }, bar, refused, said), update };
}
