// The server's API: uploads with progress, jobs by server-sent events or by asking, downloads; and the API key.

const KEY_ITEM = "spoofcheck-api-key";
const POLL_MS = 1_000;
const OVER = new Set(["done", "failed", "cancelled"]);
const WORDS = {
  401: "The server asks for an API key.",
  403: "The server does not let this page do that.",
  404: "The server does not know this examination any more.",
  408: "The upload took too long. Try again.",
  413: "The recording is too large for this server.",
  415: "The server does not take this kind of file.",
  422: "The server could not read this recording.",
  429: "The server is busy.",
};

/** What the server, or the way to it, refuses; `message` is for the reader. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0: no answer
   * @param {string} message
   * @param {number | null} retryAfter_s
   */
  constructor(status, message, retryAfter_s = null) {
    super(message);
    this.status = status;
    this.retryAfter_s = retryAfter_s;
  }
}

/** The key, for as long as this tab is open. */
export const key = {
  get: () => sessionStorage.getItem(KEY_ITEM),
  /** @param {string} value */
  set: (value) => sessionStorage.setItem(KEY_ITEM, value),
  forget: () => sessionStorage.removeItem(KEY_ITEM),
};

/** @returns {Record<string, string>} */
function headers() {
  const value = key.get();
  return value === null ? {} : { "x-api-key": value };
}

/**
 * @param {number} status
 * @param {string} body
 * @param {string | null} retryAfter
 */
function failure(status, body, retryAfter) {
  let said = "";
  try {
    const { message, detail } = JSON.parse(body);
    said = typeof message === "string" ? message : typeof detail === "string" ? detail : "";
  } catch {
    // Not ours: a proxy answered. The status says enough.
  }
  const usual = status >= 500 ? "The server failed. Try again later." : `The server answered with status ${status}.`;
  const wait = Number.parseInt(retryAfter ?? "", 10);
  const words = said || (/** @type {Record<number, string>} */ (WORDS)[status] ?? usual);
  return new ApiError(status, words, Number.isFinite(wait) ? wait : null);
}

function unreachable() {
  return new ApiError(0, "The server can't be reached. Is it running?");
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(), cache: "no-store" });
  } catch (error) {
    throw options.signal?.aborted ? error : unreachable();
  }
  if (!response.ok) throw failure(response.status, await response.text(), response.headers.get("retry-after"));
  return response;
}

/** @param {string} path */
export async function json(path) {
  return (await ask(path)).json();
}

/**
 * Sends one recording.
 * @param {File} file
 * @param {string | null} model
 * @param {(share: number) => void} onProgress
 * @param {AbortSignal} signal
 * @returns {Promise<{id: string}>}
 */
export function upload(file, model, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "v1/scans");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(failure(request.status, request.responseText, request.getResponseHeader("retry-after")));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("files", file, file.name);
    if (model) form.append("model", model);
    request.send(form);
  });
}

/**
 * Follows a job until it is over: by its events, or by asking each second where they do not come through.
 * @param {string} id
 * @param {(job: any) => void} onChange
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the job as it ended
 */
export async function follow(id, onChange, signal) {
  try {
    for await (const job of events(id, signal)) {
      onChange(job);
      if (OVER.has(job.state)) return job;
    }
  } catch (error) {
    if (signal.aborted || (error instanceof ApiError && [401, 404].includes(error.status))) throw error;
  }
  for (;;) {
    const job = await (await ask(`${jobPath(id)}/status`, { signal })).json();
    onChange(job);
    if (OVER.has(job.state)) return job;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Server-sent events by hand: `EventSource` sends no API key.
 * @param {string} id
 * @param {AbortSignal} signal
 */
async function* events(id, signal) {
  const response = await ask(`${jobPath(id)}/events`, { signal });
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (waiting + value.replaceAll("\r", "")).split("\n\n");
    waiting = parts.pop() ?? "";
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

/** @param {string} id */
export async function forget(id) {
  await ask(jobPath(id), { method: "DELETE" });
}

/**
 * Saves what an address answers as a file of the reader's.
 * @param {string} path
 * @param {string} name
 */
export async function save(path, name) {
  const address = URL.createObjectURL(await (await ask(path)).blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @param {string} id */
export function jobPath(id) {
  return `v1/scans/${encodeURIComponent(id)}`;
}
