// How pictures come in (chosen, dropped, pasted, or one of the samples), are made fit for the service, and go out.

import { Problem } from "./api.js";

const ACCEPTED = ["image/jpeg", "image/png"];

/** Call `take(file)` for each file chosen, dropped or pasted. */
export function listenForFiles({ input, stage, take }) {
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.dataset.drag = "";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete stage.dataset.drag;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    delete stage.dataset.drag;
    const file = event.dataTransfer.files[0];
    if (file) take(file);
  });
}

export async function fetchSample(path, signal) {
  try {
    const response = await fetch(path, { signal });
    if (response.ok) return await response.blob();
  } catch {
    // said below: to the visitor it is one thing
  }
  throw new Problem("The sample is missing", `${path} could not be loaded from this server.`);
}

/**
 * -> {bitmap, body}: the picture as the browser sees it (null where it can't), and the bytes to send.
 * A JPEG or PNG within `limits` goes as it is. Other formats the browser knows become JPEG; what is too large is scaled.
 */
export async function prepare(file, limits) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  const { max_pixels = Infinity, max_body_bytes = Infinity } = limits;
  if (!bitmap && file.size > max_body_bytes) {
    const [has, may] = [file.size, max_body_bytes].map((bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`);
    throw new Problem("Too large", `The file has ${has}, the service takes ${may}, and this browser can't scale it.`, { status: 413 });
  }
  if (!bitmap) return { bitmap, body: file };
  const allowed = file.size > max_body_bytes ? Math.min(max_pixels, 4e6) : max_pixels;
  const pixels = bitmap.width * bitmap.height;
  if (ACCEPTED.includes(file.type) && file.size <= max_body_bytes && pixels <= max_pixels) return { bitmap, body: file };
  return { bitmap, body: await toJpeg(bitmap, Math.min(1, Math.sqrt(allowed / pixels)), 0.92) };
}

export function save(blob, name, suffix) {
  const address = URL.createObjectURL(blob);
  const stem = name.replace(/\.[^.]*$/, "") || "picture";
  Object.assign(document.createElement("a"), { href: address, download: `${stem}-${suffix}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export async function toJpeg(picture, scale, quality) {
  const width = Math.max(1, Math.floor(picture.width * scale));
  const height = Math.max(1, Math.floor(picture.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality });
}
