// The page: one picture at a time, from a file, a sample or a live source, and everything that describes it.

import { getLabels, getModels, segment } from "./api.js";
import { fetchSample, listenForFiles, prepare, save } from "./intake.js";
import { Live } from "./live.js";
import { Legend, showModel, showTiming } from "./panels.js";
import { Probe } from "./probe.js";
import { Stage } from "./stage.js";
import { listenForToken } from "./token.js";
import { IGNORE_ID, View } from "./view.js";

const $ = (id) => document.getElementById(id);
const view = new View($("canvas"));
const stage = new Stage(view);
const names = new Map(); // train id -> class name
const probe = new Probe({ view, names, frame: $("frame"), say: announce });
const legend = new Legend($("legend"), {
  onToggle: (id, shown) => setShown([id], shown),
  onSpotlight: (id) => view.map && view.setSpotlight(id),
});
const live = new Live({ onFrame: showLiveFrame, onProblem: (error) => stage.showProblem(error) });
const samples = [...$("samples").querySelectorAll("button")];

const current = { name: "", file: null, abort: null, first: false, refused: null }; // refused: sends again what was answered 401
let model = { version: "", input: {} };

function announce(text) {
  $("announce").textContent = text;
}

/** Begin something new: whatever is under way ends, and its answer is not shown any more. */
function begin() {
  current.abort?.abort();
  current.abort = new AbortController();
  current.refused = null;
  live.stop();
  stage.clearProblem();
  return current.abort.signal;
}

/** file: what to segment; sample: the button it came from, if any */
async function take(file, sample = null) {
  if (file.type.startsWith("video/")) return startLive(file.name, () => live.startFile(file));
  const signal = begin();
  stage.setBusy(true);
  announce(`Segmenting ${file.name}`);
  try {
    const { bitmap, body } = await prepare(file, model.input);
    signal.throwIfAborted();
    if (bitmap) showPhoto(bitmap, sample);
    showAnswer(bitmap, await segment(body, signal), file.name);
  } catch (error) {
    if (signal.aborted) return undefined;
    const again = () => take(file, sample);
    if (error.status === 401) current.refused = again;
    stage.showProblem(error, again, file.name);
  } finally {
    if (!signal.aborted) stage.setBusy(false);
  }
  return undefined;
}

/** The photo alone, while its label map is awaited. */
function showPhoto(bitmap, sample) {
  view.show(bitmap, null);
  probe.clear();
  markSample(sample);
  stage.show("busy");
}

function showAnswer(bitmap, answer, name) {
  current.name = name;
  view.show(bitmap, answer.map);
  probe.clear();
  stage.show("result");
  const summary = describe(answer, false);
  view.canvas.setAttribute("aria-label", `Label map of ${name}: ${summary}`);
  announce(`${name} took ${answer.total.toFixed(0)} milliseconds: ${summary}`);
}

/** Fill the legend and the timing; -> the classes that are there, in words. */
function describe(answer, keepOrder) {
  current.file = answer.file;
  if (answer.version && answer.version !== model.version) {
    model = { ...model, version: answer.version }; // The service was given another bundle.
    introduce();
  }
  const shares = view.shares();
  legend.setShares(shares, keepOrder);
  showTiming({ total: $("timing-total"), bar: $("timing-bar"), stages: $("timing-stages") }, answer);
  const largest = [...names.keys()].filter((id) => shares[id] >= 0.005).sort((a, b) => shares[b] - shares[a]);
  return largest.map((id) => `${names.get(id)} ${Math.round(100 * shares[id])} percent`).join(", ");
}

async function startLive(name, start) {
  const signal = begin();
  Object.assign(current, { name, first: true });
  setPaused(false);
  try {
    await start();
  } catch (error) {
    if (!signal.aborted) stage.showProblem(error);
  }
}

function showLiveFrame(bitmap, answer, { fps, skipped }) {
  view.show(bitmap, answer.map);
  if (current.first) {
    probe.clear();
    markSample(null);
    announce(`${current.name} is running. Pause and Stop are below the picture.`);
    view.canvas.setAttribute("aria-label", `Label map of ${current.name}, live`);
  }
  stage.show("live");
  describe(answer, !current.first);
  probe.refresh();
  $("live-text").textContent = `${fps.toFixed(1)} frames/s \u00b7 ${answer.total.toFixed(0)} ms \u00b7 ${skipped} skipped`;
  current.first = false;
}

function setPaused(paused) {
  $("pause").setAttribute("aria-pressed", String(paused));
  $("live").toggleAttribute("data-paused", paused);
}

function togglePause() {
  const paused = $("pause").getAttribute("aria-pressed") !== "true";
  setPaused(paused);
  if (paused) live.pause();
  else live.resume();
}

function setShown(ids, shown) {
  for (const id of ids) {
    view.hidden[shown ? "delete" : "add"](id);
    legend.setShown(id, shown);
  }
  view.recolor();
}

function setOpacity() {
  const { value } = $("opacity");
  $("opacity").style.setProperty("--value", `${value}%`);
  $("opacity").setAttribute("aria-valuetext", `${value} percent labels`);
  view.opacity = value / 100;
  view.compose();
}

function markSample(pressed) {
  for (const button of samples) button.setAttribute("aria-pressed", String(button === pressed));
}

async function takeSample(button) {
  try {
    await take(await fetchSample(button.dataset.sample), button);
  } catch (error) {
    stage.showProblem(error, () => takeSample(button));
  }
}

/** -> whether the service let us in (it may still be too busy to say what it is). */
async function introduce() {
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

function listen() {
  listenForFiles({ input: $("file"), stage: stage.root, take });
  const on = (selector, act) => {
    for (const button of document.querySelectorAll(selector)) button.addEventListener("click", act);
  };
  on("[data-action=open]", () => $("file").click());
  on("[data-action=camera]", () => startLive("camera", () => live.startCamera()));
  on("#show-all", () => setShown(legend.ids, true));
  on("#hide-all", () => setShown(legend.ids, false));
  on("#save-labels", () => save(current.file, current.name, "labels"));
  on("#save-overlay", () => view.canvas.toBlob((blob) => save(blob, current.name, "overlay")));
  on("#pause", togglePause);
  on("#stop", () => {
    live.stop();
    stage.show("result");
    view.canvas.focus();
  });
  listenForToken(async () => {
    stage.clearProblem();
    if (await introduce()) current.refused?.();
  });
  for (const button of samples) button.addEventListener("click", () => takeSample(button));
  $("opacity").addEventListener("input", setOpacity);
}

$("origin").textContent = new URL(".", location.href).href;
listen();
setOpacity();
introduce();
