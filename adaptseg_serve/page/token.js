// The token of a guarded service: asked for only after a 401, kept for this tab alone, sent with each request.

import { keepFocus } from "./focus.js";

const KEY = "adaptseg-token";
const $ = (id) => document.getElementById(id);

/** Headers that carry the token; none while there is none. */
export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** `sent`, headers of authorization(), were answered 401: show the field, and say so where it was this tab's token. */
export function askForToken(sent) {
  if (sent.Authorization !== authorization().Authorization) return; // about a token that has been replaced since
  const refused = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  if (!$("token-form").hidden && !refused) return;
  $("token-form").hidden = false;
  $("token-problem").hidden = !refused;
  $("token").setAttribute("aria-invalid", String(refused));
  $("token").focus();
}

/** Call `take()` each time a token was entered. */
export function listenForToken(take) {
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = $("token").value.trim();
    if (!/^[\x21-\x7e]+$/.test(token)) return refuse();
    sessionStorage.setItem(KEY, token);
    $("token").value = "";
    $("token-form").hidden = $("token-problem").hidden = true;
    keepFocus();
    return take();
  });
}

/** What no header can carry is no token of any service. */
function refuse() {
  $("token-problem").hidden = false;
  $("token").setAttribute("aria-invalid", "true");
}
