// The service, as the page needs it. Addresses are relative, so that the page works behind a path prefix.

import { decodeGreyPng, decodePalettePng } from "./png.js";
import { askForToken, authorization } from "./token.js";

const SILENT = ["The service doesn't answer", "Nothing came back from this server. Is it still running?"];
const BROKEN_OFF = ["The answer broke off", "The connection to this server was lost before all of it had come. Try again."];

/** What went wrong, in the service's own words (RFC 9457) where it gave any. */
export class Problem extends Error {
  constructor(title, detail, { status = 0, retryAfter = 0 } = {}) {
    super(detail);
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Busy or unreachable: the same request may succeed later. */
  get passing() {
    return [0, 429, 503, 504].includes(this.status);
  }
}

export const getLabels = () => getJson("v1/labels");
export const getModels = async () => (await getJson("v1/models")).models;

/**
 * Label map of an encoded image.
 * `withConfidence`: ask for the confidence map as well (Uint8Array, 255 for 1; null where it was not asked for).
 * -> {map: {width, height, ids}, file: Blob (the PNG as answered), timings: [[stage, ms], ...], total: ms, version,
 *     confidence}
 */
export async function segment(body, signal, withConfidence = false) {
  const started = performance.now();
  const headers = { Accept: withConfidence ? "application/json" : "image/png", "Content-Type": body.type || "application/octet-stream" };
  const path = withConfidence ? "v1/segment?include=confidence" : "v1/segment";
  const { response, answered } = await ask(path, { method: "POST", body, headers, signal });
  const said = withConfidence ? jsonOf(answered) : null;
  const buffer = said ? bytesOf(said.label_map.data) : answered;
  const total = performance.now() - started;
  return {
    map: await decodePalettePng(buffer),
    file: new Blob([buffer], { type: "image/png" }),
    timings: withNetwork(parseServerTiming(response.headers.get("Server-Timing")), total),
    total,
    version: response.headers.get("X-Model-Version") ?? "",
    confidence: said ? (await decodeGreyPng(bytesOf(said.confidence.data))).ids : null,
  };
}

/** ArrayBuffer of UTF-8 -> what it says */
const jsonOf = (buffer) => JSON.parse(new TextDecoder().decode(buffer));

/** base64 -> ArrayBuffer */
const bytesOf = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer;

async function getJson(path) {
  return jsonOf((await ask(path, { headers: { Accept: "application/json" } })).answered);
}

/** -> {response, answered: ArrayBuffer}, of a response that is ok: its body too can fail on the way. */
async function ask(path, options) {
  const authorized = authorization();
  let response;
  let answered;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...authorized } });
    if (response.ok) answered = await response.arrayBuffer();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw response ? new Problem(...BROKEN_OFF) : new Problem(...SILENT);
  }
  if (response.status === 401) askForToken(authorized);
  if (!response.ok) throw await problemOf(response);
  return { response, answered };
}

async function problemOf(response) {
  const { status } = response;
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const said = await response.json().catch(() => ({}));
  const title = said.title || response.statusText || `Status ${status}`;
  return new Problem(title, said.detail || `The service answered with status ${status}.`, { status, retryAfter });
}

/** 'decode;dur=1.2, queue;dur=0.1' -> [["decode", 1.2], ["queue", 0.1]] */
function parseServerTiming(header) {
  return [...(header ?? "").matchAll(/([\w-]+)\s*;[^,]*?dur=([\d.]+)/g)].map(([, name, dur]) => [name, Number(dur)]);
}

function withNetwork(stages, total) {
  const spent = stages.reduce((sum, [, ms]) => sum + ms, 0);
  return [...stages, ["network", Math.max(0, total - spent)]];
}
