// The picture: a photo, and over it the label map in the classes' colours, as one canvas of the label map's size.

export const IGNORE_ID = 255;
export const RAMP = [[18, 20, 60], [190, 55, 85], [255, 236, 130]]; // sure, half sure, not sure at all
const DIMMED = 38; // of 255: how far classes step back while another one is in the spotlight

export class View {
  #context;
  #overlay = new OffscreenCanvas(1, 1);
  #photo = null;
  #colors = new Uint32Array(256);
  #spotlight = null;

  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.map = null;
    this.confidence = null;
    this.unsure = false; // show the confidence, where there is one, in place of the classes
    this.opacity = 0.55;
    this.hidden = new Set();
  }

  /** classes: [{train_id, color: [r, g, b]}]; ids without a class, the ignored among them, are black. */
  setClasses(classes) {
    this.#colors.fill(pack(0, 0, 0));
    for (const { train_id, color } of classes) this.#colors[train_id] = pack(...color);
  }

  /** photo: anything drawImage takes, with width and height; map: {width, height, ids}, or null while it is awaited; confidence: of each pixel. */
  show(photo, map, confidence = null) {
    if (this.#photo !== photo) this.#photo?.close?.();
    this.#photo = photo;
    this.map = map;
    this.confidence = confidence;
    const { width, height } = map ?? photo;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.recolor();
  }

  /** Paint the label map anew: after another map, another set of hidden classes or another spotlight. */
  recolor() {
    if (this.map) {
      const { width, height, ids } = this.map;
      const image = new ImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      const table = this.#table();
      for (let i = 0; i < ids.length; i++) pixels[i] = table[ids[i]];
      if (this.showsConfidence) this.#paintConfidence(pixels);
      if (this.#overlay.width !== width || this.#overlay.height !== height) Object.assign(this.#overlay, { width, height });
      this.#overlay.getContext("2d").putImageData(image, 0, 0);
    }
    this.compose();
  }

  /** Is the confidence what is seen, in place of the classes? */
  get showsConfidence() {
    return this.unsure && this.confidence !== null;
  }

  get photo() {
    return this.#photo;
  }

  /** Its colours in place of the classes', which keep their say in what is hidden and what steps back. */
  #paintConfidence(pixels) {
    for (let i = 0; i < pixels.length; i++) {
      pixels[i] = ((CONFIDENCE_COLORS[this.confidence[i]] & 0xffffff) | (pixels[i] & 0xff000000)) >>> 0;
    }
  }

  /** Let every class but this one step back; null: none. */
  setSpotlight(id) {
    if (this.#spotlight === id) return;
    this.#spotlight = id;
    this.recolor();
  }

  compose() {
    const { width, height } = this.canvas;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    if (this.#photo) context.drawImage(this.#photo, 0, 0, width, height);
    if (!this.map) return;
    context.globalAlpha = this.opacity;
    context.drawImage(this.#overlay, 0, 0);
    context.globalAlpha = 1;
  }

  /** CSS colour of a train id. */
  colorOf(id) {
    const color = this.#colors[id];
    return `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;
  }

  /** Train id at pixel (x, y). */
  at(x, y) {
    return this.map.ids[y * this.map.width + x];
  }

  /** The confidence at pixel (x, y) in 0..1, or null where none was asked for. */
  confidenceAt(x, y) {
    return this.confidence && this.confidence[y * this.map.width + x] / 255;
  }

  /** Share of pixels by train id: Float64Array of 256 that sums to 1. */
  shares() {
    const shares = new Float64Array(256);
    for (const id of this.map.ids) shares[id]++;
    return shares.map((count) => count / this.map.ids.length);
  }

  #table() {
    const spotlit = this.#spotlight !== null && !this.hidden.has(this.#spotlight);
    return this.#colors.map((color, id) => {
      if (this.hidden.has(id)) return 0;
      return spotlit && id !== this.#spotlight ? withAlpha(color, DIMMED) : color;
    });
  }
}

// ImageData is RGBA in memory; every machine a browser runs on is little-endian.
const pack = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const CONFIDENCE_COLORS = Uint32Array.from({ length: 256 }, (_, value) => {
  const at = (2 * (255 - value)) / 255;
  const from = Math.min(1, Math.floor(at));
  return pack(...RAMP[from].map((low, i) => Math.round(low + (at - from) * (RAMP[from + 1][i] - low))));
});
const withAlpha = (color, alpha) => ((color & 0xffffff) | (alpha << 24)) >>> 0;
