// Which class is this pixel? By pointer, touch or arrow keys.

import { IGNORE_ID } from "./view.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const clamp = (value, limit) => Math.min(limit - 1, Math.max(0, value));

export class Probe {
  #at = null; // the pinned pixel, [x, y] in the label map

  /** say(text): speaks to screen readers */
  constructor({ view, names, frame, say }) {
    Object.assign(this, { view, names, say });
    this.mark = frame.querySelector(".probe");
    this.readout = frame.querySelector(".readout");
    const { canvas } = view;
    canvas.addEventListener("click", (event) => this.#pin(this.#pixel(event)));
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.#read(this.#pixel(event)));
    canvas.addEventListener("pointerleave", () => this.refresh());
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  clear() {
    this.#at = null;
    this.refresh();
  }

  /** Read the pinned pixel again (the picture under it may be another), or show nothing where none is. */
  refresh() {
    this.mark.hidden = this.#at === null;
    this.#read(this.#at);
  }

  #pixel({ offsetX, offsetY }) {
    const { canvas } = this.view;
    const [x, y] = [(offsetX / canvas.clientWidth) * canvas.width, (offsetY / canvas.clientHeight) * canvas.height];
    return [clamp(Math.floor(x), canvas.width), clamp(Math.floor(y), canvas.height)];
  }

  #key(event) {
    if (!this.view.map) return;
    if (event.key === "Escape") this.clear();
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const { width, height } = this.view.map;
    const pace = Math.max(1, Math.round((event.shiftKey ? 0.1 : 0.01) * Math.max(width, height)));
    const [x, y] = this.#at ?? [width >> 1, height >> 1];
    this.#pin([clamp(x + pace * step[0], width), clamp(y + pace * step[1], height)]);
  }

  #pin(pixel) {
    if (!this.view.map) return;
    this.#at = pixel;
    const { width, height } = this.view.map;
    this.mark.style.left = `${(100 * (pixel[0] + 0.5)) / width}%`;
    this.mark.style.top = `${(100 * (pixel[1] + 0.5)) / height}%`;
    this.refresh();
    this.say(this.readout.textContent);
  }

  #read(pixel) {
    const known = pixel !== null && this.view.map !== null;
    this.readout.hidden = !known;
    if (!known) return;
    const { width, height } = this.view.map;
    const [x, y] = [clamp(pixel[0], width), clamp(pixel[1], height)];
    this.readout.toggleAttribute("data-up", y > 0.7 * height); // never over the pixel it is about
    const id = this.view.at(x, y);
    const name = this.names.get(id) ?? "unknown class";
    const number = id === IGNORE_ID ? "" : ` \u00b7 train id ${id}`;
    const confidence = this.view.confidenceAt(x, y);
    const sure = confidence === null ? "" : ` \u00b7 ${Math.round(100 * confidence)} percent sure`;
    this.readout.querySelector("#readout-text").textContent = `${name}${number} \u00b7 x ${x}, y ${y}${sure}`;
    this.readout.querySelector(".swatch").style.backgroundColor = this.view.colorOf(id);
  }
}
