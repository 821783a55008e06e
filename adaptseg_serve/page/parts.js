// The parts of the page, each made once, for the modules that work with them.

import { Legend } from "./panels.js";
import { Probe } from "./probe.js";
import { Stage } from "./stage.js";
import { View } from "./view.js";

export const $ = (id) => document.getElementById(id);
export const view = new View($("canvas"));
export const stage = new Stage(view);
export const names = new Map(); // train id -> class name
export const probe = new Probe({ view, names, frame: $("frame"), say: announce });
export const legend = new Legend($("legend"), {
  onToggle: (id, shown) => setShown([id], shown),
  onSpotlight: (id) => view.setSpotlight(view.map ? id : null),
});

export function announce(text) {
  $("announce").textContent = text;
}

export function setShown(ids, shown) {
  for (const id of ids) {
    view.hidden[shown ? "delete" : "add"](id);
    legend.setShown(id, shown);
  }
  view.recolor();
}
