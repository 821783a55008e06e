// The page: one picture at a time, from a file, a sample or a live source, and what can be done with it.

import { current, showAnswer, showFrameAgain, showLiveFrame, showPhoto } from "./answers.js";
import { segment } from "./api.js";
import { fetchSample, listenForFiles, prepare, save } from "./intake.js";
import { introduce, model } from "./introduction.js";
import { Live } from "./live.js";
import { $, announce, legend, setShown, stage, view } from "./parts.js";
import { listenForToken } from "./token.js";
import { RAMP } from "./view.js";

const live = new Live({ onFrame: takeFrame, onProblem: (error) => fail(error, liveAgain), withConfidence: () => view.unsure });
let underWay = null; // AbortController of what was begun last
let lastTaken = null; // takes the picture that is shown once more, with its confidence; null before there is one
let liveAgain = null; // begins the newest live source once more
let sendAgain = null; // sends what was answered 401 once more

/** Begin something new: whatever is under way ends, and its answer is not shown any more. */
function begin() {
  underWay?.abort();
  underWay = new AbortController();
  sendAgain = null;
  live.stop();
  stage.leaveLive();
  stage.clearProblem();
  return underWay.signal;
}

function takeFile(file) {
  if (file.type.startsWith("video/")) startLive(file.name, () => live.startFile(file));
  else takePicture(file.name, () => file);
}

function takeSample(button) {
  const path = button.dataset.sample;
  takePicture(path.split("/").pop(), (signal) => fetchSample(path, signal), button);
}

/** get(signal): what to segment, a Blob; sample: the button it came from, if any */
async function takePicture(name, get, sample = null) {
  const signal = begin();
  const again = () => takePicture(name, get, sample);
  stage.setBusy(true);
  announce(`Segmenting ${name}`);
  try {
    const { bitmap, body } = await prepare(await get(signal), model.input);
    if (signal.aborted) bitmap?.close();
    signal.throwIfAborted();
    if (bitmap) showPhoto(bitmap, name, sample);
    let answer = await segment(body, signal, view.unsure);
    if (view.unsure && !answer.confidence) answer = await segment(body, signal, true); // wanted only since it was sent
    signal.throwIfAborted(); // decoding an answer doesn't end with its request
    showAnswer(bitmap, answer, name);
    lastTaken = again;
  } catch (error) {
    if (signal.aborted) return;
    fail(error, again, name);
  }
}

/** again(): begins what failed once more. It is offered where the problem may pass, and done after a token that was wanted. */
function fail(error, again, name = "") {
  if (error.status === 401) sendAgain = again;
  stage.showProblem(error, again, name);
}

async function startLive(name, start) {
  const signal = begin();
  stage.setBusy(true);
  current.coming = name; // till its first frame, what was shown before keeps its name
  setPaused(false);
  liveAgain = () => startLive(name, start);
  try {
    await start();
  } catch (error) {
    if (!signal.aborted) fail(error, liveAgain);
  }
}

function takeFrame(bitmap, answer, pace) {
  lastTaken = askFrameAgain;
  showLiveFrame(bitmap, answer, pace);
}

/** A live source brings the confidence with its next frame, if there will be one. */
async function askFrameAgain() {
  if (live.isPlaying) return;
  const { signal } = underWay;
  const shown = view.map;
  try {
    const answer = await live.askAgain(signal);
    signal.throwIfAborted();
    if (view.map === shown) showFrameAgain(answer);
    else if (!view.confidence) await askFrameAgain(); // a frame that was on its way has taken the place
  } catch (error) {
    if (signal.aborted) return;
    live.stop(); // the problem takes the place of its controls
    fail(error, askFrameAgain);
  }
}

function setPaused(paused) {
  $("pause").setAttribute("aria-pressed", String(paused));
  $("live").toggleAttribute("data-paused", paused);
}

function togglePause() {
  const paused = $("pause").getAttribute("aria-pressed") !== "true";
  setPaused(paused);
  if (!paused) return live.resume();
  live.pause();
  return completeConfidence();
}

function setOpacity() {
  const { value } = $("opacity");
  $("opacity").style.setProperty("--value", `${value}%`);
  view.opacity = value / 100;
  view.compose();
  stage.showConfidenceLegend();
}

function toggleConfidence() {
  view.unsure = !view.unsure;
  $("confidence").setAttribute("aria-pressed", String(view.unsure));
  stage.showConfidenceLegend();
  view.recolor();
  completeConfidence();
}

/** What is shown is asked for again where its confidence is wanted and not known; a picture under way brings its own. */
function completeConfidence() {
  if (view.unsure && view.map && !view.confidence && !stage.busy) lastTaken?.();
}

function listen() {
  listenForFiles({ input: $("file"), stage: stage.root, take: takeFile });
  const on = (selector, act) => {
    for (const button of document.querySelectorAll(selector)) button.addEventListener("click", act);
  };
  on("[data-action=open]", () => $("file").click());
  on("[data-action=camera]", () => startLive("camera", () => live.startCamera()));
  on("#show-all", () => setShown(legend.ids, true));
  on("#hide-all", () => setShown(legend.ids, false));
  on("#save-labels", () => save(current.file, current.name, "labels"));
  on("#save-overlay", () => view.canvas.toBlob((blob) => save(blob, current.name, "overlay")));
  on("#confidence", toggleConfidence);
  on("#pause", togglePause);
  on("#stop", () => {
    live.stop();
    stage.show("result");
    completeConfidence();
  });
  listenForToken(async () => {
    stage.clearProblem();
    if (await introduce()) sendAgain?.();
  });
  for (const button of document.querySelectorAll("#samples button")) button.addEventListener("click", () => takeSample(button));
  $("opacity").addEventListener("input", setOpacity);
}

$("origin").textContent = new URL(".", location.href).href;
listen();
setOpacity();
$("confidence-ramp").style.backgroundImage = `linear-gradient(90deg, ${RAMP.map((color) => `rgb(${color})`)})`;
introduce();
