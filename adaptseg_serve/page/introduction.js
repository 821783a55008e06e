// Which model answers, and of which classes: asked at the start, and again when the service was given another bundle.

import { getLabels, getModels } from "./api.js";
import { showModel } from "./panels.js";
import { $, legend, names, stage, view } from "./parts.js";
import { IGNORE_ID } from "./view.js";

const REST_MS = 5000;
let [resting, missed] = [false, false];

/** The model's card, as far as it is known. */
export let model = { version: "", input: {} };

/** -> whether the service let us in (it may still be too busy to say what it is). */
export async function introduce() {
  try {
    const [labels, [card]] = await Promise.all([getLabels(), getModels()]);
    model = card;
    setClasses(labels.classes);
    showModel({ name: $("model-name"), note: $("model-note"), facts: $("model-facts") }, card);
    $("model").hidden = false;
    setServing("ready", `${card.name} \u00b7 ${card.version}`);
  } catch (error) {
    setServing(error.status === 503 ? "loading" : "down", error.status === 401 ? "Token wanted" : (error.title ?? "Not ready"));
    if (error.passing) setTimeout(introduce, 2000);
    else if (error.status !== 401) stage.showProblem(error);
    return error.status !== 401;
  }
  return true;
}

/** version: that of an answer; another one than the card's means another bundle. */
export function noticeVersion(version) {
  if (!version || version === model.version) return;
  model = { ...model, version };
  missed = resting;
  if (!resting) introduceAndRest();
}

/** During a rollout two versions may answer by turns: one question in a while is enough. */
function introduceAndRest() {
  [resting, missed] = [true, false];
  introduce();
  setTimeout(() => {
    resting = false;
    if (missed) introduceAndRest();
  }, REST_MS);
}

function setServing(state, text) {
  $("serving").dataset.state = state;
  $("serving-text").textContent = text;
}

function setClasses(classes) {
  names.clear();
  names.set(IGNORE_ID, "ignored");
  for (const { train_id, name } of classes) names.set(train_id, name);
  view.setClasses(classes);
  legend.setClasses(classes);
  $("side").hidden = false;
  for (const id of view.hidden) legend.setShown(id, false);
  if (!view.map) return;
  legend.setShares(view.shares());
  view.recolor();
}
