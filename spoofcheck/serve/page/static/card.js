// One recording on the page: from its file to its result, with what can be done about it in between.

import { ApiError, follow, forget, jobPath, json, key, save, upload } from "./api.js";
import { el } from "./dom.js";
import { exhibitSection, limitations } from "./result.js";
import { clock, count, size, visible } from "./text.js";

const WAIT_S = 5;
const LONGEST_WAIT_S = 120;

/**
 * @typedef {object} Surroundings what a card needs of the page
 * @property {() => string | null} model that the reader chose
 * @property {(words: string) => void} announce to who cannot see the page
 * @property {() => Promise<void>} keyWanted shows the field for an API key, and waits until one was given
 * @property {(job: () => Promise<any>) => Promise<any>} inTurn runs few uploads at a time
 * @property {any} words what the server explains
 * @property {() => void} changed a card has a result, or is gone
 */

export class Card {
  /** @type {any} the view of the finished scan; null before */
  view = null;
  #abort = new AbortController();
  /** @type {string | null} */
  #job = null;
  #state = el("p", { class: "state" });
  #bar = /** @type {HTMLProgressElement} */ (el("progress", { max: "1", "aria-label": "Progress" }));
  #body = el("div", { class: "card-body" });
  #actions = el("p", { class: "card-actions" });
  #audio;
  #address;
  #wake = () => {};

  /**
   * @param {File} file
   * @param {number} number
   * @param {Surroundings} surroundings
   */
  constructor(file, number, surroundings) {
    this.file = file;
    this.name = visible(file.name);
    this.surroundings = surroundings;
    this.#address = URL.createObjectURL(file);
    this.#audio = /** @type {HTMLAudioElement} */ (el("audio", { controls: true, preload: "metadata", "aria-label": `Listen to ${this.name}` }));
    this.#audio.addEventListener("error", () => this.#cannotPlay(), { once: true });
    this.#audio.addEventListener("loadedmetadata", () => this.#measure(), { once: true });
    this.#audio.src = this.#address;
    const title = `recording-${number}-title`;
    this.element = el(
      "article",
      { class: "card", id: `recording-${number}`, "aria-labelledby": title, tabindex: "-1" },
      el("header", {}, el("h3", { id: title }, el("bdi", { class: "path", dir: "ltr" }, this.name)), el("p", { class: "file-size" }, size(file.size))),
      this.#state,
      this.#bar,
      this.#audio,
      this.#body,
      this.#actions,
    );
  }

  /** Sends the recording, follows its examination and shows what came of it. */
  async run() {
    this.#show("Waiting to be sent", null);
    this.#offer(["Cancel", () => this.#cancel()]);
    try {
      const job = await this.surroundings.inTurn(() => this.#sent());
      this.#job = job.id;
      const over = await this.#again(() => follow(job.id, (each) => this.#follow(each), this.#abort.signal));
      if (over.state === "failed") throw new ApiError(500, over.error || "The examination failed.");
      if (over.state === "cancelled") throw new DOMException("cancelled", "AbortError");
      this.#finish(await this.#again(() => json(`page/scans/${encodeURIComponent(job.id)}`)));
    } catch (error) {
      this.#fail(error);
    }
  }

  async #sent() {
    this.#abort.signal.throwIfAborted();
    return this.#again(() => {
      this.#show("Sending", 0);
      return upload(this.file, this.surroundings.model(), (share) => this.#show(`Sending, ${Math.round(100 * share)} %`, share), this.#abort.signal);
    });
  }

  /**
   * Does a step until it is answered: waits while the server is busy, and for a key when it asks for one.
   * @template T
   * @param {() => Promise<T>} step
   * @returns {Promise<T>}
   */
  async #again(step) {
    for (;;) {
      try {
        return await step();
      } catch (error) {
        if (!(error instanceof ApiError) || this.#abort.signal.aborted) throw error;
        if (error.status === 401) {
          this.#show("Waiting for an API key", null);
          await Promise.race([this.surroundings.keyWanted(), this.#aborted()]);
        } else if (error.status === 429 && (error.retryAfter_s ?? WAIT_S) <= LONGEST_WAIT_S) {
          await this.#pause(error);
        } else {
          throw error;
        }
      }
    }
  }

  /** @param {ApiError} error */
  async #pause(error) {
    this.surroundings.announce(`${this.name}: ${error.message}`);
    const until = performance.now() + 1_000 * (error.retryAfter_s ?? WAIT_S);
    let hurried = false;
    this.#wake = () => (hurried = true);
    this.#offer(["Try now", () => this.#wake()], ["Cancel", () => this.#cancel()]);
    for (let left = until - performance.now(); left > 0 && !hurried; left = until - performance.now()) {
      this.#show(`${error.message} Trying again in ${Math.ceil(left / 1_000)} s.`, null);
      await new Promise((resolve) => setTimeout(resolve, Math.min(left, 200)));
      this.#abort.signal.throwIfAborted();
    }
    this.#offer(["Cancel", () => this.#cancel()]);
  }

  #aborted() {
    return new Promise((_, reject) => {
      this.#abort.signal.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")), { once: true });
    });
  }

  /** @param {any} job */
  #follow(job) {
    if (job.state === "queued") {
      this.#show("Waiting for its turn", null);
    } else if (job.state === "running") {
      const [{ progress, duration_s }] = job.files;
      const heard = duration_s === null ? "" : `, ${clock(progress * duration_s)} of ${clock(duration_s)}`;
      this.#show(`Examining${heard}`, progress);
    }
  }

  /** @param {any} view */
  #finish(view) {
    this.view = { ...view, observations: this.surroundings.words.observations };
    this.#bar.remove();
    const sections = this.view.exhibits.map((/** @type {any} */ exhibit) =>
      exhibitSection(exhibit, this.view, this.name, (window, play) => this.#goTo(window.start_s, play)),
    );
    this.#audio.addEventListener("timeupdate", () => sections.forEach((/** @type {any} */ each) => each.playhead(this.#audio.currentTime)));
    this.#body.replaceChildren(...sections.map((/** @type {any} */ each) => each.element));
    for (const skipped of this.view.skipped) {
      this.#body.append(el("p", { class: "notice warning" }, el("strong", {}, "Not examined. "), skipped.reasons.join(" ")));
    }
    if (sections.length) this.#body.append(limitations(this.view));
    const path = jobPath(String(this.#job));
    const stem = this.name.replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^\.+/, "") || "recording";
    this.#offer(
      ["Download report", () => this.#try(save(`${path}/report.html`, `${stem}.report.html`))],
      ["Download JSON", () => this.#try(save(path, `${stem}.scan.json`))],
      ["Remove", () => this.#remove()],
    );
    // A link sends no key: with one, the report is a download.
    if (key.get() === null) {
      const open = { class: "button small", href: `${path}/report.html`, target: "_blank", rel: "noopener" };
      this.#actions.prepend(el("a", open, "Open report"));
    }
    const verdicts = this.view.exhibits.map((/** @type {any} */ exhibit) => `${exhibit.word}, ${exhibit.figures[0].join(" ")}`);
    this.#state.textContent = verdicts.length ? "" : "Not examined";
    this.#state.hidden = verdicts.length > 0;
    this.surroundings.announce(`${this.name}: ${verdicts.join("; ") || "not examined"}`);
    this.surroundings.changed();
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#bar.remove();
    const cancelled = error instanceof DOMException && error.name === "AbortError";
    const words = cancelled ? "Cancelled." : error instanceof ApiError ? error.message : "The page failed to show the result.";
    this.#state.hidden = true;
    this.#body.replaceChildren(el("p", { class: cancelled ? "notice" : "notice warning" }, words));
    this.surroundings.announce(`${this.name}: ${words}`);
    this.#offer(["Try again", () => this.#retry()], ["Remove", () => this.#remove()]);
  }

  #retry() {
    if (this.#job !== null) void forget(this.#job).catch(() => {});
    this.#job = null;
    this.#abort = new AbortController();
    this.#body.replaceChildren();
    this.#state.after(this.#bar);
    this.element.focus();
    void this.run();
  }

  #cancel() {
    this.#abort.abort();
    if (this.#job !== null) void forget(this.#job).catch(() => {});
    this.#job = null;
    this.element.focus();
  }

  async #remove() {
    this.#abort.abort();
    this.#audio.pause();
    URL.revokeObjectURL(this.#address);
    if (this.#job !== null && !(await this.#try(forget(this.#job), 404))) return;
    this.element.remove();
    this.view = null;
    this.surroundings.announce(`${this.name}: removed, from the server too`);
    this.surroundings.changed();
  }

  /**
   * Waits for something the reader asked for; what goes wrong with it is said in the card.
   * @param {Promise<any>} doing
   * @param {number} [fine] a status that is as good as success
   * @returns {Promise<boolean>} whether it was done
   */
  async #try(doing, fine) {
    try {
      await doing;
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === fine) return true;
      this.#state.hidden = false;
      this.#state.textContent = error instanceof ApiError ? error.message : "That did not work. Try again.";
      this.surroundings.announce(this.#state.textContent);
      return false;
    }
  }

  /** @param {number} time_s @param {boolean} play */
  #goTo(time_s, play) {
    this.#audio.currentTime = time_s;
    if (play) void this.#audio.play().catch(() => {});
  }

  /** A browser writes recordings of its own without their length: far ahead it finds the end. */
  #measure() {
    if (this.#audio.duration !== Infinity) return;
    this.#audio.addEventListener("durationchange", () => (this.#audio.currentTime = 0), { once: true });
    this.#audio.currentTime = 1e9;
  }

  #cannotPlay() {
    if (!this.element.isConnected && this.element.parentNode === null && this.#audio.error === null) return;
    this.#audio.hidden = true;
    this.#audio.after(el("p", { class: "file-size" }, "This browser can't play this kind of recording."));
  }

  /** @param {string} words @param {number | null} share */
  #show(words, share) {
    this.#state.hidden = false;
    this.#state.textContent = words;
    if (share === null) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
  }

  /** @param {...[string, () => void]} choices */
  #offer(...choices) {
    const focused = this.#actions.contains(document.activeElement);
    this.#actions.replaceChildren(...choices.map(([words, act]) => el("button", { type: "button", class: "button small", onclick: act }, words)));
    if (focused) this.element.focus();
  }
}

/**
 * The line that says how many recordings there are.
 * @param {number} number
 */
export function added(number) {
  return `${count(number, "recording")} added`;
}
