// The page: takes recordings in, gives each a card, compares those that are done.

import { ApiError, json, key } from "./api.js";
import { Card, added } from "./card.js";
import { byId, el, svg } from "./dom.js";
import { canRecord, microphoneProblem, Recorder } from "./recorder.js";
import { badge, head } from "./result.js";
import { clock } from "./text.js";

const AT_ONCE = 2;
const STRIP_PX = 12;

/** @type {Card[]} */
let cards = [];
let number = 0;
let running = 0;
/** @type {(() => void)[]} */
const waiting = [];
/** @type {(() => void)[]} */
let wantKey = [];
/** @type {Recorder | null} */
let recorder = null;

const surroundings = {
  model: () => (byId("model-choice").hidden ? null : byId("model").value),
  announce: (/** @type {string} */ words) => (byId("announcer").textContent = words),
  keyWanted,
  inTurn,
  words: { observations: "" },
  changed: refresh,
};

/**
 * Few uploads at a time: a folder dropped on the page should not fill the server's queue at once.
 * @template T
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 */
async function inTurn(job) {
  if (running >= AT_ONCE) await new Promise((resolve) => waiting.push(() => resolve(null)));
  running += 1;
  try {
    return await job();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** @param {Iterable<File>} files */
function add(files) {
  const chosen = [...files];
  if (!chosen.length) return;
  problem("");
  byId("results").hidden = false;
  for (const file of chosen) {
    number += 1;
    const card = new Card(file, number, surroundings);
    cards.push(card);
    byId("cards").append(card.element);
    void card.run();
  }
  surroundings.announce(added(chosen.length));
  refresh();
}

/** @param {string} words */
function problem(words) {
  byId("problem").textContent = words;
  byId("problem").hidden = words === "";
}

/** Shows the field for a key and waits until one was given. */
function keyWanted() {
  const form = byId("key-form");
  if (form.hidden) {
    form.hidden = false;
    byId("key-set").hidden = true;
    byId("key").value = "";
    if (key.get() !== null) problem("The API key is not valid. Give another one.");
    byId("key").focus();
  }
  return /** @type {Promise<void>} */ (new Promise((resolve) => wantKey.push(() => resolve())));
}

/** The cards side by side, and above them one table of what is done. */
function refresh() {
  cards = cards.filter((card) => card.element.isConnected);
  byId("results").hidden = cards.length === 0;
  byId("cards").classList.toggle("several", cards.length > 1);
  document.body.classList.toggle("wide", cards.length > 1);
  const done = cards.flatMap((card) => (card.view ? card.view.exhibits.map((/** @type {any} */ exhibit) => ({ card, exhibit })) : []));
  const table = byId("overview");
  table.hidden = done.length < 2;
  table.replaceChildren(...(table.hidden ? [] : [overview(done)]));
}

/** @param {{card: Card, exhibit: any}[]} done */
function overview(done) {
  const rows = done.map(({ card, exhibit }) => {
    const name = el("a", { href: `#${card.element.id}` }, el("bdi", { class: "path", dir: "ltr" }, card.name));
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, name, exhibit.channel ? el("span", { class: "channel" }, ` ${exhibit.channel}`) : null),
      el("td", { class: "num" }, clock(exhibit.duration_s)),
      el("td", {}, badge(exhibit)),
      el("td", { class: "num" }, exhibit.figures[0][1]),
      el("td", { class: "strip-column" }, strip(exhibit.chart.bars)),
    );
  });
  const columns = [["Recording", ""], ["Duration", "num"], ["Verdict", ""], [done.every(({ card }) => card.view.scale) ? "LLR" : "LLR or raw score", "num"], ["Timeline", "strip-column"]];
  return el("table", { class: "data summary" }, head(columns), el("tbody", {}, ...rows));
}

/** @param {any[]} bars */
function strip(bars) {
  const drawn = svg("svg", { class: "strip", "aria-hidden": "true", width: "100%", height: STRIP_PX });
  drawn.append(...bars.map(({ x, width, kind }) => svg("rect", { class: kind, x, width, y: 0, height: STRIP_PX })));
  return drawn;
}

function takeFiles() {
  const input = byId("files");
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  const drop = byId("drop");
  const over = (/** @type {boolean} */ is) => drop.classList.toggle("over", is);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    add(event.dataTransfer?.files ?? []);
  });
}

function takeMicrophone() {
  const begin = byId("record");
  if (!canRecord()) {
    begin.hidden = true;
    return;
  }
  const show = (/** @type {boolean} */ is) => {
    byId("recorder").hidden = !is;
    byId("drop").hidden = is;
    byId(is ? "stop" : "record").focus();
  };
  begin.addEventListener("click", async () => {
    problem("");
    begin.disabled = true;
    try {
      recorder = await Recorder.start((level, elapsed_s) => {
        byId("level").value = level;
        byId("recorder-time").textContent = clock(elapsed_s);
      });
      show(true);
      surroundings.announce("Recording");
    } catch (error) {
      problem(microphoneProblem(error));
    } finally {
      begin.disabled = false;
    }
  });
  byId("stop").addEventListener("click", async () => {
    const file = await recorder?.stop();
    show(false);
    if (file) add([file]);
  });
  byId("discard").addEventListener("click", () => {
    recorder?.discard();
    show(false);
    surroundings.announce("Recording discarded");
  });
}

function takeKey() {
  byId("key-set").hidden = key.get() === null;
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    key.set(byId("key").value.trim());
    byId("key").value = "";
    byId("key-form").hidden = true;
    byId("key-set").hidden = false;
    problem("");
    for (const resume of wantKey.splice(0)) resume();
    void showModels();
  });
  byId("key-forget").addEventListener("click", () => {
    key.forget();
    byId("key-set").hidden = true;
    byId("files").focus();
  });
}

/** What the server explains of verdicts and of the scale, in the words of its reports. */
async function showWords() {
  const words = await json("page/words.json");
  surroundings.words = words;
  byId("verdicts").replaceChildren(
    ...words.verdicts.map((/** @type {any} */ each) => el("div", {}, el("dt", {}, badge(each)), el("dd", {}, each.meaning))),
  );
  const rows = words.scale.map((/** @type {any} */ step) =>
    el("tr", {}, el("td", { class: "num" }, step.ratio), el("td", { class: "num" }, step.llr), el("td", {}, step.phrase)),
  );
  const caption = el("caption", {}, "Verbal scale. The same phrases apply in both directions.");
  byId("scale").replaceChildren(
    el("table", { class: "data scale" }, caption, head([["LR", "num"], ["LLR", "num"], ["In words", ""]]), el("tbody", {}, ...rows)),
  );
}

/** The models of the server; a choice only where there is one. */
async function showModels() {
  const { models } = await json("v1/models");
  const select = byId("model");
  select.replaceChildren(...models.map((/** @type {any} */ each) => el("option", { value: each.name, selected: each.default }, each.name)));
  byId("model-choice").hidden = models.length < 2;
  byId("footer-model").textContent = `spoofcheck, ${models.map((/** @type {any} */ each) => `${each.name} ${each.version}`).join(", ")}`;
}

async function start() {
  takeFiles();
  takeMicrophone();
  takeKey();
  try {
    await showWords();
    await showModels();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) void keyWanted();
    else problem(error instanceof ApiError ? error.message : "The page could not be set up.");
  }
}

void start();
