// The microphone: as it is (no echo cancellation, no noise suppression, no automatic gain), with a level meter.

const KINDS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];
const ENDINGS = { "audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "m4a" };
const FLOOR_DB = -60;
const METER_MS = 100;

/** Whether this browser lets this page record: it needs HTTPS, or a server on this machine. */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
}

/** One recording, from `start` to `stop` or `discard`. */
export class Recorder {
  #stream;
  #recorder;
  #context;
  #timer = 0;
  /** @type {Blob[]} */
  #parts = [];

  /**
   * Asks for the microphone and begins.
   * @param {(levelDb: number, elapsedS: number) => void} onLevel level above the floor of -60 dBFS, 0 to 60
   * @returns {Promise<Recorder>}
   */
  static async start(onLevel) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    return new Recorder(stream, onLevel);
  }

  /**
   * @param {MediaStream} stream
   * @param {(levelDb: number, elapsedS: number) => void} onLevel
   */
  constructor(stream, onLevel) {
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    this.#stream = stream;
    this.#recorder = new MediaRecorder(stream, { ...(mimeType ? { mimeType } : {}), audioBitsPerSecond: 128_000 });
    this.#recorder.ondataavailable = (event) => this.#parts.push(event.data);
    this.#recorder.start(1_000);
    this.#context = new AudioContext();
    const analyser = this.#context.createAnalyser();
    this.#context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const began = performance.now();
    this.#timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
      const level = rms > 0 ? Math.max(0, 20 * Math.log10(rms) - FLOOR_DB) : 0;
      onLevel(level, (performance.now() - began) / 1_000);
    }, METER_MS);
  }

  /**
   * Ends the recording.
   * @returns {Promise<File>}
   */
  stop() {
    return new Promise((resolve) => {
      this.#recorder.onstop = () => {
        const type = this.#recorder.mimeType.split(";")[0] || "audio/webm";
        const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
        const ending = /** @type {Record<string, string>} */ (ENDINGS)[type] ?? "webm";
        resolve(new File(this.#parts, `microphone-${stamp}.${ending}`, { type }));
      };
      this.#release();
    });
  }

  /** Ends it and keeps nothing. */
  discard() {
    this.#release();
    this.#parts = [];
  }

  #release() {
    window.clearInterval(this.#timer);
    this.#recorder.stop();
    this.#stream.getTracks().forEach((track) => track.stop());
    this.#context.close();
  }
}

/**
 * What went wrong with the microphone, in plain words.
 * @param {unknown} error
 */
export function microphoneProblem(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "The browser does not let this page use the microphone. Allow it and try again.";
  if (name === "NotFoundError") return "No microphone was found.";
  if (name === "NotReadableError") return "The microphone is in use by another program.";
  return "The microphone could not be started.";
}
