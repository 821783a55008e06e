// A camera or a video file, frame by frame: always the newest frame, one request in flight, nothing queued.

import { Problem, segment } from "./api.js";
import { toJpeg } from "./intake.js";
import { Patience } from "./patience.js";

const LONGEST_SIDE = 960;
const QUALITY = 0.85;
const WINDOW_MS = 2000; // over which frames per second are counted

export class Live {
  #video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, loop: true });
  #abort = null;
  #starts = 0;
  #newest = null; // what the newest answered frame was sent as
  #cleanUp = () => {};

  /** withConfidence(): whether to ask for it; onFrame(bitmap, answer, {fps, skipped}) for each answer; onProblem(problem) when it ends by itself. */
  constructor({ onFrame, onProblem, withConfidence }) {
    this.onFrame = onFrame;
    this.onProblem = onProblem;
    this.withConfidence = withConfidence;
  }

  async startCamera() {
    this.stop();
    const start = this.#starts;
    const stream = await openCamera();
    if (start !== this.#starts) {
      stream.getTracks().forEach((track) => track.stop()); // Permission came after something else was begun.
      return;
    }
    this.#cleanUp = () => stream.getTracks().forEach((track) => track.stop());
    stream.getVideoTracks()[0].addEventListener("ended", () => this.#end(cameraStopped())); // not after a stop of ours
    this.#video.srcObject = stream;
    await this.#start();
  }

  async startFile(file) {
    this.stop();
    const address = URL.createObjectURL(file);
    this.#cleanUp = () => URL.revokeObjectURL(address);
    this.#video.src = address;
    await this.#start();
  }

  /** Do answers keep coming, without anybody's doing? */
  get isPlaying() {
    return this.#abort !== null && !this.#video.paused;
  }

  /** The newest answered frame's answer, with its confidence: for a source that is paused or was stopped. */
  askAgain(signal) {
    return segment(this.#newest, signal, true);
  }

  pause() {
    this.#video.pause();
  }

  resume() {
    return this.#video.play();
  }

  stop() {
    this.#starts++;
    this.#abort?.abort();
    this.#abort = null;
    this.#video.pause();
    this.#cleanUp();
    this.#cleanUp = () => {};
    this.#video.srcObject = null;
    this.#video.removeAttribute("src");
  }

  async #start() {
    const abort = (this.#abort = new AbortController());
    try {
      await this.#video.play();
      if (abort.signal.aborted) return;
      if (!this.#video.srcObject && !this.#video.videoWidth) throw new Error("it finds sound, but no picture");
    } catch (error) {
      if (abort.signal.aborted) return;
      this.stop();
      throw cantBePlayed(error.message);
    }
    this.#loop(abort.signal).catch((error) => {
      if (!abort.signal.aborted) this.#end(error);
    });
  }

  #end(problem) {
    this.stop();
    this.onProblem(problem);
  }

  async #loop(signal) {
    const answered = [];
    const frames = new Frames(this.#video, signal);
    const patience = new Patience();
    let [taken, skipped] = [0, 0];
    while (!signal.aborted) {
      const frame = await frames.after(taken);
      if (signal.aborted) return;
      if (taken) skipped += frame - taken - 1;
      taken = frame;
      const got = await patience.try(() => this.#segmentFrame(signal));
      if (signal.aborted) return got?.bitmap.close();
      if (!got) {
        skipped++; // by now it is old
        continue;
      }
      this.#newest = got.body;
      answered.push(performance.now());
      while (answered[0] < answered.at(-1) - WINDOW_MS) answered.shift();
      const fps = answered.length > 1 ? (1000 * (answered.length - 1)) / (answered.at(-1) - answered[0]) : 0;
      this.onFrame(got.bitmap, got.answer, { fps, skipped });
    }
  }

  /** -> {bitmap, body, answer}: the frame that is there now, as it is shown, as it was sent, and what came back. */
  async #segmentFrame(signal) {
    const bitmap = await createImageBitmap(this.#video, fitted(this.#video));
    try {
      const body = await toJpeg(bitmap, 1, QUALITY);
      return { bitmap, body, answer: await segment(body, signal, this.withConfidence()) };
    } catch (error) {
      bitmap.close(); // a frame's megabytes would else wait for the browser to collect them
      throw error;
    }
  }
}

/** Counts the frames a video presents; none are while it is paused or its tab is hidden. */
class Frames {
  #newest = 0;
  #notify = () => {};

  constructor(video, signal) {
    const count = (_, { presentedFrames }) => {
      this.#newest = presentedFrames;
      this.#notify();
      if (!signal.aborted) video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
    signal.addEventListener("abort", () => this.#notify(), { once: true });
  }

  /** Number of the newest frame, as soon as there is one after number `last`. */
  async after(last) {
    if (this.#newest <= last) await new Promise((resolve) => (this.#notify = resolve));
    return this.#newest;
  }
}

function fitted({ videoWidth, videoHeight }) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(videoWidth, videoHeight));
  return { resizeWidth: Math.round(videoWidth * scale), resizeHeight: Math.round(videoHeight * scale) };
}

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Problem("No camera here", "Browsers allow the camera only over HTTPS or on localhost.", { status: 400 });
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "Permission was not given; the browser's address bar lets you change that." : error.message;
    throw new Problem("The camera can't be used", why, { status: 400 });
  }
}

function cantBePlayed(why) {
  const detail = `This browser can't decode it (${why}). Try MP4 (H.264) or WebM.`;
  return new Problem("The video can't be played", detail, { status: 415 });
}

function cameraStopped() {
  const detail = "It was unplugged, or its permission was taken back. Connect it or allow it again, then press \u201cUse the camera\u201d.";
  return new Problem("The camera stopped", detail, { status: 400 });
}
