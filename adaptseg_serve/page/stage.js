// The place the picture stands in: what state it is in, and what went wrong.

import { Problem } from "./api.js";
import { keepFocus } from "./focus.js";

const $ = (id) => document.getElementById(id);

export class Stage {
  #retry = null;
  #answered = false;

  constructor(view) {
    this.view = view;
    this.root = $("stage");
    $("dismiss").addEventListener("click", () => this.clearProblem());
    $("retry").addEventListener("click", () => {
      this.clearProblem();
      this.#retry();
    });
  }

  /** state: empty; busy: a photo that waits for its label map; photo: it got none; result; live */
  show(state) {
    this.root.dataset.state = state;
    const { width, height } = this.view.canvas;
    $("frame").style.setProperty("--aspect", width / height);
    const pictured = state !== "empty";
    $("invitation").hidden = pictured;
    $("frame").hidden = $("another").hidden = $("toolbar").hidden = !pictured;
    $("save-labels").disabled = $("save-overlay").disabled = !this.view.map;
    this.#answered ||= this.view.map !== null;
    $("legend-links").hidden = !this.#answered;
    $("timing").hidden = !this.#answered || state === "photo";
    $("live").hidden = $("live-controls").hidden = state !== "live";
    keepFocus();
    this.showConfidenceLegend();
    this.setBusy(state === "busy");
  }

  /** A live source that has ended has no controls; its last frame stays. */
  leaveLive() {
    if (this.root.dataset.state === "live") this.show("result");
  }

  /** Only while the confidence is what is seen; the slider then mixes that with the photo. */
  showConfidenceLegend() {
    const over = this.view.showsConfidence ? "Confidence" : "Labels";
    $("confidence-legend").hidden = !this.view.showsConfidence;
    $("mix-over").textContent = over;
    $("opacity").setAttribute("aria-valuetext", `${$("opacity").value} percent ${over.toLowerCase()}`);
  }

  /** Is something under way, of which nothing is shown yet? */
  get busy() {
    return this.root.getAttribute("aria-busy") === "true";
  }

  setBusy(busy) {
    this.root.setAttribute("aria-busy", String(busy));
  }

  /** `retry` is offered where the problem may pass; `name`: the file it is about, as the picture may be an earlier one. */
  showProblem(error, retry = null, name = "") {
    const known = error instanceof Problem;
    const title = known ? error.title : "Something went wrong on this page";
    $("problem-title").textContent = name ? `${title}: ${name}` : title;
    $("problem-detail").textContent = known ? error.detail : String(error);
    this.#retry = retry;
    $("retry").hidden = !(retry && error.passing);
    $("problem").hidden = false;
    keepFocus();
    this.setBusy(false);
    if (this.root.dataset.state !== "empty") this.show(this.view.map ? "result" : "photo");
  }

  clearProblem() {
    $("problem").hidden = true;
    keepFocus();
  }
}
