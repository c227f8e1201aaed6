// What the server answered to a button, for as long as it is news.

import { element, setOptionalText, setText } from "/page/dom.js";

/** An answer or a refusal about a session as it was then; `update` takes it away once the session has moved on. */
export function passingNotice() {
  const said = element("p", { class: "hint", role: "status" });
  const refused = element("p", { class: "notice danger", role: "alert", hidden: true });
  let told = ""; // the session's state it was told of

  function show(answer, refusal, session) {
    told = stateOf(session);
    setText(said, answer ?? "");
    setOptionalText(refused, refusal);
  }

  function update(session) {
    if (stateOf(session) !== told) show(null, null, session);
    else if (doesAsAsked(session)) setText(said, "");
  }

  return {
    nodes: [refused, said], update,
    say: (message, session) => show(message, null, session),
    refuse: (message, session) => show(null, message, session),
    isAwaited: () => said.textContent !== "",
  };
}

const stateOf = ({ overallStatus, requested, startedAt, completedAt }) => (
  [overallStatus, requested, startedAt, completedAt].join());
const doesAsAsked = ({ overallStatus, requested }) => overallStatus === "running" && requested === "run";
