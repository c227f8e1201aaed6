// Signing in with a token; the server keeps us known by a cookie that no script can read.

import { post } from "/page/api.js";
import { element, setOptionalText } from "/page/dom.js";
import { field } from "/page/fields.js";

/** Ask for a token; `reason` says why, when somebody was signed in before. Calls `signedIn` in the end. */
export function signInView(main, { signal, reason, signedIn }) {
  const input = element("input", {
    type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false",
  });
  const token = field("token", "Token", input, "The one your operator gave you, from the server's tokens file.");
  const why = element("p", { class: "notice", hidden: true });
  const button = element("button", { class: "primary" }, "Sign in");
  const form = element("form", { class: "card narrow", novalidate: true }, token.node, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await post("/sign-in", { token: input.value.trim() }, { signal });
      signedIn();
    } catch (error) {
      if (signal.aborted) return;
      button.disabled = false;
      token.say(error.message);
      input.select();
    }
  });
  setOptionalText(why, reason);
  main.append(element("h1", {}, "Sign in"), why, form);
  input.focus();
}
