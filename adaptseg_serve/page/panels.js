// What stands beside the picture: the legend, the timing split and the model's card.

import { IGNORE_ID } from "./view.js";

const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1" : (100 * share).toFixed(1));
const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0));

function element(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

/** One row per class: a button that shows or hides it, its share, and a bar. */
export class Legend {
  #rows = new Map();
  #said = "";

  /** onToggle(id, shown) and onSpotlight(id or null) */
  constructor(list, { onToggle, onSpotlight }) {
    this.list = list;
    this.onToggle = onToggle;
    this.onSpotlight = onSpotlight;
  }

  /** Rows stay, and the keyboard's focus with them, where the classes are the same. */
  setClasses(classes) {
    const said = JSON.stringify(classes);
    if (said === this.#said) return;
    this.#said = said;
    this.list.replaceChildren();
    this.onSpotlight(null); // a row that goes while it is pointed at doesn't say so
    this.#rows.clear();
    const ignored = { train_id: IGNORE_ID, name: "ignored", color: [0, 0, 0] };
    for (const one of [...classes, ignored]) this.#rows.set(one.train_id, this.#row(one));
    this.#rows.get(IGNORE_ID).item.hidden = true;
    this.list.append(...[...this.#rows.values()].map((row) => row.item));
  }

  /** shares: by train id. Rows are sorted by share unless `keepOrder` (a list that jumps about can't be read). */
  setShares(shares, keepOrder = false) {
    if (!this.#rows.size) return;
    for (const [id, row] of this.#rows) {
      row.share = shares[id];
      row.button.disabled = false;
      row.figure.textContent = shares[id] ? `${percent(shares[id])} %` : "\u2013";
      row.fill.style.width = `${100 * shares[id]}%`;
      row.item.classList.toggle("absent", shares[id] === 0);
    }
    const ignored = this.#rows.get(IGNORE_ID);
    ignored.item.hidden = ignored.share === 0;
    if (keepOrder) return;
    const sorted = [...this.#rows.values()].sort((a, b) => b.share - a.share || a.id - b.id);
    this.list.append(...sorted.map((row) => row.item));
  }

  /** Rows keep their places: the shares of the next picture mostly come within a moment. */
  clearShares() {
    for (const row of this.#rows.values()) {
      row.figure.textContent = "";
      row.fill.style.width = "0";
    }
  }

  setShown(id, shown) {
    this.#rows.get(id)?.button.setAttribute("aria-pressed", String(shown));
  }

  get ids() {
    return [...this.#rows.keys()];
  }

  #row({ train_id: id, name, color }) {
    const item = element("li");
    const button = Object.assign(element("button", "row"), { type: "button", disabled: true });
    button.setAttribute("aria-pressed", "true");
    button.dataset.trainId = id;
    const [swatch, track, fill] = [element("span", "swatch"), element("span", "track"), element("span", "fill")];
    swatch.style.backgroundColor = fill.style.backgroundColor = `rgb(${color.join(" ")})`;
    fill.style.width = "0";
    track.append(fill);
    const figure = element("span", "share");
    button.append(swatch, element("span", "name", name), figure, track);
    item.append(button);
    button.addEventListener("click", () => this.onToggle(id, button.getAttribute("aria-pressed") !== "true"));
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.onSpotlight(id));
    button.addEventListener("focus", () => button.matches(":focus-visible") && this.onSpotlight(id));
    for (const leaving of ["pointerleave", "blur"]) button.addEventListener(leaving, () => this.onSpotlight(null));
    return { id, item, button, figure, fill, share: 0 };
  }
}

/** timings: [[stage, ms], ...], of `total` ms */
export function showTiming({ total, bar, stages }, { timings, total: sum }) {
  total.textContent = milliseconds(sum);
  const whole = timings.reduce((all, [, ms]) => all + ms, 0) || 1;
  bar.replaceChildren(
    ...timings.map(([name, ms]) => {
      const part = element("span", `stage-${name}`);
      part.style.width = `${(100 * ms) / whole}%`;
      return part;
    }),
  );
  stages.replaceChildren(...timings.map(([name, ms]) => fact(name, `${milliseconds(ms)} ms`, `stage-${name}`)));
}

function fact(name, value, dot = "") {
  const row = element("div");
  const term = element("dt", "", name);
  if (dot) term.prepend(element("span", `dot ${dot}`));
  row.append(term, element("dd", "", value));
  return row;
}

/** card: one entry of GET /v1/models */
export function showModel({ name, note, facts }, card) {
  name.textContent = card.name;
  note.textContent = card.training?.note ?? "";
  const [height, width] = card.input.size;
  const rows = [
    ["Version", card.version],
    ["Input", `${width} \u00d7 ${height} pixels`],
    ["Classes", `${card.classes.length}, ${card.label_set}`],
    ...scores(card.metrics),
    ["Trained by", card.training?.preset],
    ["Backbone", card.generator?.backbone],
    ["Runs on", card.runtime],
    ["Exported", card.created?.slice(0, 10)],
  ];
  facts.replaceChildren(...rows.filter(([, value]) => value).map(([key, value]) => fact(key, String(value))));
}

/** Mean IoU, in 0..1, of each data set it was measured on. */
function scores(metrics) {
  return Object.entries(metrics ?? {}).map(([dataset, values]) => {
    const key = Object.keys(values ?? {}).find((name) => /^m(ean_)?iou/i.test(name));
    const count = values?.frames ?? values?.images;
    const frames = count ? `, ${count} frames` : "";
    return [`mIoU, ${dataset}`, key && `${(100 * values[key]).toFixed(1)} %${frames}`];
  });
}
