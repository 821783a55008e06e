// The page: one picture at a time, from a file, a sample or a live source, and everything that describes it.

import { Problem, getLabels, getModels, segment } from "./api.js";
import { fetchSample, listenForFiles, prepare } from "./intake.js";
import { Live } from "./live.js";
import { Legend, showModel, showTiming } from "./panels.js";
import { Probe } from "./probe.js";
import { IGNORE_ID, View } from "./view.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const view = new View($("canvas"));
const names = new Map([[IGNORE_ID, "ignored"]]);
const current = { name: "", file: null, retry: null, abort: null };
let limits = {};
let version = "";

const probe = new Probe({ view, names, frame: $("frame"), say: announce });
const legend = new Legend($("legend"), {
  onToggle: (id, shown) => setShown([id], shown),
  onSpotlight: (id) => {
    if (view.spotlight === id || !view.map) return;
    view.spotlight = id;
    view.recolor();
  },
});
const live = new Live({ onFrame: showLiveFrame, onProblem: showProblem });

function announce(text) {
  $("announce").textContent = text;
}

/** state: empty, busy, result or live */
function setState(state) {
  stage.dataset.state = state;
  const pictured = state !== "empty";
  $("invitation").hidden = pictured;
  $("frame").hidden = $("another").hidden = !pictured;
  $("toolbar").hidden = $("timing").hidden = $("legend-links").hidden = !view.map || !pictured;
  $("live").hidden = $("live-controls").hidden = state !== "live";
  stage.setAttribute("aria-busy", String(state === "busy"));
}

function showProblem(error, retry = null) {
  const problem = error instanceof Problem ? error : new Problem("Something went wrong on this page", String(error));
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = problem.detail;
  current.retry = problem.passing ? retry : null;
  $("retry").hidden = !current.retry;
  $("problem").hidden = false;
  if (["busy", "live"].includes(stage.dataset.state)) setState(view.map ? "result" : view.photographed ? "still" : "empty");
}

/** The problem with the name of the file it is about: the picture shown may still be an earlier one. */
function named(error, name) {
  return error instanceof Problem ? new Problem(`${error.title}: ${name}`, error.detail, error) : error;
}

function clearProblem() {
  $("problem").hidden = true;
}

function fitFrame() {
  const { width, height } = view.canvas;
  $("frame").style.setProperty("--aspect", width / height);
}

/** Begin something new: whatever is under way ends, and its answer is not shown any more. */
function begin() {
  current.abort?.abort();
  current.abort = new AbortController();
  live.stop();
  clearProblem();
  return current.abort.signal;
}

/** file: what to segment; sample: the button it came from, if any */
async function take(file, sample = null) {
  if (file.type.startsWith("video/")) return startLive(file.name, () => live.startFile(file));
  const signal = begin();
  const { bitmap, body } = await prepare(file, limits);
  if (signal.aborted) return undefined;
  if (bitmap) showPhoto(bitmap, sample);
  stage.setAttribute("aria-busy", "true");
  announce(`Segmenting ${file.name}`);
  try {
    showAnswer(bitmap, await segment(body, signal), file.name);
  } catch (error) {
    if (!signal.aborted) showProblem(named(error, file.name), () => take(file, sample));
  } finally {
    if (!signal.aborted) stage.setAttribute("aria-busy", "false");
  }
  return undefined;
}

/** The photo alone, while its label map is awaited. */
function showPhoto(bitmap, sample) {
  view.show(bitmap, null);
  probe.clear();
  fitFrame();
  markSample(sample);
  setState("busy");
}

function showAnswer(bitmap, answer, name) {
  Object.assign(current, { file: answer.file, name });
  view.show(bitmap, answer.map);
  fitFrame();
  setState("result");
  const shares = view.shares();
  legend.setShares(shares);
  showTiming(timingParts, answer.timings, answer.total);
  noticeVersion(answer.version);
  const summary = describe(shares);
  view.canvas.setAttribute("aria-label", `Label map of ${name}: ${summary}`);
  announce(`${name} took ${answer.total.toFixed(0)} milliseconds: ${summary}`);
}

const timingParts = { total: $("timing-total"), bar: $("timing-bar"), stages: $("timing-stages") };

function describe(shares) {
  const largest = [...names.keys()].filter((id) => shares[id] >= 0.005).sort((a, b) => shares[b] - shares[a]);
  return largest.map((id) => `${names.get(id)} ${Math.round(100 * shares[id])} percent`).join(", ");
}

async function startLive(name, start) {
  const signal = begin();
  current.name = name;
  current.first = true;
  setPaused(false);
  try {
    await start();
  } catch (error) {
    if (!signal.aborted) showProblem(error);
  }
}

function showLiveFrame(bitmap, answer, { fps, skipped }) {
  current.file = answer.file;
  view.show(bitmap, answer.map);
  if (current.first) {
    fitFrame();
    probe.clear();
    markSample(null);
    setState("live");
    announce(`${current.name} is running. Pause and Stop are below the picture.`);
    view.canvas.setAttribute("aria-label", `Label map of ${current.name}, live`);
  }
  legend.setShares(view.shares(), !current.first);
  showTiming(timingParts, answer.timings, answer.total);
  noticeVersion(answer.version);
  probe.refresh();
  $("live-text").textContent = `${fps.toFixed(1)} frames/s \u00b7 ${answer.total.toFixed(0)} ms \u00b7 ${skipped} skipped`;
  current.first = false;
}

function setPaused(paused) {
  $("pause").setAttribute("aria-pressed", String(paused));
  $("live").toggleAttribute("data-paused", paused);
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

function save(blob, suffix) {
  const address = URL.createObjectURL(blob);
  const stem = current.name.replace(/\.[^.]*$/, "") || "picture";
  Object.assign(document.createElement("a"), { href: address, download: `${stem}-${suffix}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function markSample(pressed) {
  for (const button of $("samples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === pressed));
  }
}

async function takeSample(button) {
  try {
    await take(await fetchSample(button.dataset.sample), button);
  } catch (error) {
    showProblem(error, () => takeSample(button));
  }
}

function listen() {
  listenForFiles({ input: $("file"), stage, take });
  const on = (target, handler) => target.addEventListener("click", handler);
  for (const button of document.querySelectorAll("[data-action=open]")) on(button, () => $("file").click());
  for (const button of document.querySelectorAll("[data-action=camera]")) {
    on(button, () => startLive("camera", () => live.startCamera()));
  }
  for (const button of $("samples").querySelectorAll("button")) on(button, () => takeSample(button));
  $("opacity").addEventListener("input", setOpacity);
  on($("show-all"), () => setShown(legend.ids, true));
  on($("hide-all"), () => setShown(legend.ids, false));
  on($("save-labels"), () => save(current.file, "labels"));
  on($("save-overlay"), () => view.canvas.toBlob((blob) => save(blob, "overlay")));
  on($("dismiss"), clearProblem);
  on($("retry"), () => {
    clearProblem();
    current.retry();
  });
  on($("pause"), () => {
    const paused = $("pause").getAttribute("aria-pressed") !== "true";
    setPaused(paused);
    if (paused) live.pause();
    else live.resume();
  });
  on($("stop"), () => {
    live.stop();
    setState("result");
    view.canvas.focus();
  });
}

/** The service may be given another bundle while this page is open. */
function noticeVersion(answered) {
  if (!answered || answered === version) return;
  version = answered;
  introduce();
}

async function introduce() {
  try {
    const [labels, [card]] = await Promise.all([getLabels(), getModels()]);
    setClasses(labels.classes);
    version = card.version;
    limits = card.input;
    showModel({ name: $("model-name"), note: $("model-note"), facts: $("model-facts") }, card);
    $("model").hidden = false;
    setServing("ready", `${card.name} \u00b7 ${card.version}`);
  } catch (error) {
    if (!error.passing) showProblem(error);
    setServing(error.status === 503 ? "loading" : "down", error.title ?? "Not ready");
    if (error.passing) setTimeout(introduce, 2000);
  }
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
  for (const id of view.hidden) legend.setShown(id, false);
  if (!view.map) return;
  legend.setShares(view.shares());
  view.recolor();
}

$("origin").textContent = new URL(".", location.href).href;
listen();
setOpacity();
introduce();
