// What stands around the views: which one is shown, who is signed in, and whether the server can be reached.

import { get, post } from "/page/api.js";
import { setText } from "/page/dom.js";
import { forgetToast } from "/page/parts/toast.js";
import { viewOf } from "/page/routes.js";
import { knowBehind, rememberPlaces, restorePlace } from "/page/scroll.js";
import { signInView } from "/page/sign_in.js";

const AGAIN_MS = 2_000;

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
const navigation = document.getElementById("navigation");
const signOut = document.getElementById("sign-out");
const newSession = document.getElementById("new-session");
const apiDocs = document.getElementById("api-docs");

let system = null;
let shown = new AbortController(); // aborted when the view is left: its requests, timers and streams end with it

/** Learn whom the server takes us for, then show what the address names; until it answers, try again. */
async function begin() {
  const { signal } = leave();
  try {
    system = await get("/system", signal);
  } catch (error) {
    if (signal.aborted) return; // signed out
    tellTrouble(error);
    setTimeout(() => signal.aborted || begin(), AGAIN_MS);
    return;
  }
  const untrained = system.untrained ? " · untrained weights" : "";
  setText(document.getElementById("version"), `Trainyard ${system.version}${untrained}`);
  signOut.hidden = !system.tokensNeeded;
  newSession.hidden = system.role !== "operator";
  navigation.hidden = apiDocs.hidden = false;
  show();
}

function show() {
  if (!system) return;
  tellTrouble(null); // it was the last view's
  const { signal } = leave();
  const { view, nav, parameters, query } = viewOf(location.hash);
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.part = nav;
  const mayChange = system.role === "operator";
  const context = { signal, system, mayChange, parameters, query, announce, tellTrouble, title };
  restorePlace(view(main, context), signal);
}

function leave() {
  shown.abort();
  shown = new AbortController();
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close(""));
  main.replaceChildren();
  return shown;
}

function askToSignIn(problem) {
  const wasIn = system !== null;
  system = null;
  signOut.hidden = newSession.hidden = apiDocs.hidden = navigation.hidden = true;
  tellTrouble(null);
  forgetToast();
  leave();
  title("Sign in");
  signInView(main, { signal: shown.signal, reason: wasIn ? problem?.message : null, signedIn: begin });
}

function announce(text) {
  setText(announcer, text);
}

// What the server says of its own trouble (a database that is away) is told as well.
function tellTrouble(error) {
  const said = error?.status ? ` ${error.message}` : "";
  setText(connection, error ? `Connection lost, trying again…${said}` : "");
}

function title(text) {
  document.title = `${text} – Trainyard`;
}

document.addEventListener("signed-out", (event) => askToSignIn(event.detail));
addEventListener("hashchange", ({ oldURL }) => {
  knowBehind(oldURL ? new URL(oldURL).hash : null);
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  show();
  announce(document.title);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
signOut.addEventListener("click", async () => {
  try {
    await post("/sign-out");
    askToSignIn(null);
  } catch (error) {
    tellTrouble(error);
  }
});
rememberPlaces();
knowBehind(null);
begin();
