// The keyboard's focus, which browsers drop when what has it is hidden: the next Tab would begin at the top of the page.

const $ = (id) => document.getElementById(id);

/** After something was hidden: focus that was in it goes to the picture, or to the stage while there is none. */
export function keepFocus() {
  if (!document.activeElement?.closest("[hidden]")) return;
  const place = $("frame").hidden ? $("stage") : $("canvas");
  place.focus({ preventScroll: true }); // a source may end by itself, while something else is read
}
