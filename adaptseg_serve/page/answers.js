// What the page shows of an answer: the picture, the legend and the timing, and the same in words.

import { noticeVersion } from "./introduction.js";
import { showTiming } from "./panels.js";
import { $, announce, legend, names, probe, stage, view } from "./parts.js";

/** What is shown: its name, its label map as the service sent it; and the name of a live source whose first frame is awaited. */
export const current = { name: "", file: null, coming: null };

const samples = [...$("samples").querySelectorAll("button")];

/** The photo alone, while its label map is awaited: nothing of the picture before it stays, as this one may get none. */
export function showPhoto(bitmap, name, sample) {
  view.show(bitmap, null);
  view.canvas.setAttribute("aria-label", `${name}, no label map yet`);
  legend.clearShares();
  probe.clear();
  markSample(sample);
  stage.show("busy");
}

export function showAnswer(bitmap, answer, name) {
  current.name = name;
  view.show(bitmap, answer.map, answer.confidence);
  probe.clear();
  stage.show("result");
  const summary = describe(answer, false);
  view.canvas.setAttribute("aria-label", `Label map of ${name}: ${summary}`);
  announce(`${name} took ${answer.total.toFixed(0)} milliseconds: ${summary}`);
}

export function showLiveFrame(bitmap, answer, { fps, skipped }) {
  const first = current.coming !== null;
  view.show(bitmap, answer.map, answer.confidence);
  if (first) {
    Object.assign(current, { name: current.coming, coming: null });
    probe.clear();
    markSample(null);
    announce(`${current.name} is running. Pause and Stop are below the picture.`);
    view.canvas.setAttribute("aria-label", `Label map of ${current.name}, live`);
  }
  stage.show("live");
  describe(answer, !first);
  probe.refresh();
  $("live-text").textContent = `${fps.toFixed(1)} frames/s \u00b7 ${answer.total.toFixed(0)} ms \u00b7 ${skipped} skipped`;
}

/** The frame that is shown, once more: now with its confidence. */
export function showFrameAgain(answer) {
  view.show(view.photo, answer.map, answer.confidence);
  stage.showConfidenceLegend();
  describe(answer, true);
  probe.refresh();
}

/** Fill the legend and the timing; -> the classes that are there, in words. */
function describe(answer, keepOrder) {
  current.file = answer.file;
  noticeVersion(answer.version);
  const shares = view.shares();
  legend.setShares(shares, keepOrder);
  showTiming({ total: $("timing-total"), bar: $("timing-bar"), stages: $("timing-stages") }, answer);
  const largest = [...names.keys()].filter((id) => shares[id] >= 0.005).sort((a, b) => shares[b] - shares[a]);
  return largest.map((id) => `${names.get(id)} ${Math.round(100 * shares[id])} percent`).join(", ");
}

function markSample(pressed) {
  for (const button of samples) button.setAttribute("aria-pressed", String(button === pressed));
}
