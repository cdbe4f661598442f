// The timeline of one exhibit: waveform, speech, a bar per window, spectrogram; one slider over all of them.

import { el, svg } from "./dom.js";

const WAVE_PX = 64;
const SPEECH_PX = 12;
const SPECTROGRAM_PX = 120;
const AXIS_PX = 22;

/**
 * @typedef {{number: number, start_s: number, end_s: number, span: string, speech: string, score: string, note: string,
 *   flagged: boolean}} Window
 * @typedef {{element: HTMLElement, playhead: (time_s: number) => void}} Timeline
 */

/**
 * @param {any} exhibit of the view
 * @param {string} score what scores are called: `LLR`, or `raw score` of an uncalibrated model
 * @param {string} name of the recording, for who cannot see the drawings
 * @param {(window: Window, play: boolean) => void} onChoose a window was chosen; `play`: and is to be heard
 * @returns {Timeline}
 */
export function timeline(exhibit, score, name, onChoose) {
  const { chart, pictures, windows } = exhibit;
  const rows = [...(pictures ? waveRows(chart, pictures) : []), ...(windows.length ? [barRow(chart, pictures, score)] : [])];
  if (pictures) rows.push(spectrogramRow(chart, pictures, name));
  const axis = timeAxis(chart.ticks);
  // The layer lies over all rows, so that no row may be left to the grid to place.
  [...rows, [axis]].forEach((row, index) => row.forEach((each) => (each.style.gridRow = String(index + 1))));
  const plot = el("div", { class: "plot" }, ...rows.flat(), axis);
  const chosen = el("p", { class: "chosen" }, windows.length ? "Choose a window: press the timeline, or use the arrow keys." : "");
  const playhead = el("div", { class: "playhead", hidden: true });
  const layer = el("div", { class: "layer" }, playhead);
  layer.style.gridRow = `1 / ${rows.length + 1}`;
  if (windows.length) makeSlider(layer, exhibit, score, name, chosen, onChoose);
  plot.append(layer);
  const element = el("figure", { class: "timeline" }, plot, chosen, el("figcaption", {}, caption(exhibit, score)));
  return {
    element,
    playhead(time_s) {
      playhead.hidden = false;
      playhead.style.left = place(time_s, exhibit.duration_s);
    },
  };
}

/**
 * @param {any} chart
 * @param {any} pictures
 */
function waveRows(chart, pictures) {
  const wave = drawing("wave", WAVE_PX, `0 0 ${pictures.columns} 254`, ...spanRects(chart.spans, "254"));
  wave.append(svg("path", { d: pictures.wave }));
  const rows = [[axisText(WAVE_PX, [[36, "sound"]]), wave]];
  if (pictures.speech !== null) {
    const speech = drawing("speech", SPEECH_PX, "0 0 1000 1", svg("path", { d: pictures.speech }));
    rows.push([axisText(SPEECH_PX, [[10, "speech"]]), speech]);
  }
  return rows;
}

/**
 * @param {any} chart
 * @param {any} pictures
 * @param {string} score
 */
function barRow(chart, pictures, score) {
  const zero = Number(chart.zero_y);
  const labels = [[zero + 4, "0"], ...chart.limits.map((/** @type {string[]} */ [y, label]) => [Number(y) + 4, label])];
  if (pictures) labels.push([zero + 18, score === "LLR" ? score : "score"]);
  const bars = svg("g", { class: "bars" }, ...chart.bars.map(rect));
  const drawn = drawing("chart", chart.height, null, ...spanRects(chart.spans, "100%"));
  for (const [y] of chart.limits) drawn.append(level("limit", y));
  drawn.append(bars, ...chart.spans.map((/** @type {any} */ span) => rect({ ...span, height: "4", kind: "span-mark" })));
  if (chart.threshold_y !== null) drawn.append(level("halo", chart.threshold_y), level("threshold", chart.threshold_y));
  drawn.append(level("zero", chart.zero_y));
  if (chart.separate) drawn.classList.add("separate");
  return [axisText(chart.height, labels), drawn];
}

/**
 * @param {any} chart
 * @param {any} pictures
 * @param {string} name
 */
function spectrogramRow(chart, pictures, name) {
  const drawn = svg("svg", { class: "spectrogram", role: "img", width: "100%", height: SPECTROGRAM_PX });
  drawn.setAttribute("aria-label", `Spectrogram of ${name}, 0 to ${pictures.top}`);
  drawn.append(svg("image", { href: pictures.spectrogram, width: "100%", height: "100%", preserveAspectRatio: "none" }));
  for (const { x, width } of chart.spans) {
    drawn.append(svg("rect", { class: "span-frame", x, y: 1, width, height: SPECTROGRAM_PX - 2 }));
    drawn.append(svg("rect", { class: "span-mark", x, y: 0, width, height: 4 }));
  }
  return [axisText(SPECTROGRAM_PX, [[9, pictures.top], [64, pictures.half], [SPECTROGRAM_PX - 1, "0"]]), drawn];
}

/** @param {any[]} ticks */
function timeAxis(ticks) {
  const axis = svg("svg", { class: "x-axis", "aria-hidden": "true", width: "100%", height: AXIS_PX });
  for (const { x, label, anchor, minor } of ticks) {
    const kind = minor ? " minor" : "";
    axis.append(svg("line", { class: kind.trim() || null, x1: x, x2: x, y1: 0, y2: 5 }));
    axis.append(svg("text", { class: `${anchor}${kind}`, x, y: 17 }, label));
  }
  return axis;
}

/**
 * A slider over all rows: a press or an arrow key chooses a window, Enter or Space plays from its start.
 * @param {HTMLElement} layer
 * @param {any} exhibit
 * @param {string} score
 * @param {string} name
 * @param {HTMLElement} chosen
 * @param {(window: Window, play: boolean) => void} onChoose
 */
function makeSlider(layer, exhibit, score, name, chosen, onChoose) {
  /** @type {Window[]} */
  const windows = exhibit.windows;
  const mark = el("div", { class: "mark", hidden: true });
  layer.append(mark);
  let index = 0;
  const words = (/** @type {Window} */ window) =>
    `Window ${window.number} of ${windows.length}, ${window.span}: ` +
    [`${score} ${window.score}`, `${window.speech} s of speech`, window.note].filter(Boolean).join(", ");
  const attributes = {
    role: "slider",
    tabindex: "0",
    "aria-label": `Windows of ${name}${exhibit.channel ? `, ${exhibit.channel}` : ""}. Enter plays from the chosen one.`,
    "aria-valuemin": 1,
    "aria-valuemax": windows.length,
    "aria-valuenow": 1,
    "aria-valuetext": words(windows[0]),
  };
  for (const [key, value] of Object.entries(attributes)) layer.setAttribute(key, String(value));

  /** @param {number} to @param {boolean} play */
  function choose(to, play) {
    index = Math.min(windows.length - 1, Math.max(0, to));
    const window = windows[index];
    mark.hidden = false;
    mark.style.left = place(window.start_s, exhibit.duration_s);
    mark.style.width = place(window.end_s - window.start_s, exhibit.duration_s);
    layer.setAttribute("aria-valuenow", String(window.number));
    layer.setAttribute("aria-valuetext", words(window));
    chosen.textContent = words(window);
    onChoose(window, play);
  }

  layer.addEventListener("click", (event) => {
    const box = layer.getBoundingClientRect();
    choose(nearest(windows, ((event.clientX - box.left) / box.width) * exhibit.duration_s), false);
  });
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  layer.addEventListener("keydown", (event) => {
    const step = /** @type {Record<string, number>} */ (steps)[event.key];
    // The first arrow shows where the slider stands; only the next one moves it.
    if (step !== undefined) choose(mark.hidden ? index : index + step, false);
    else if (event.key === "Home") choose(0, false);
    else if (event.key === "End") choose(windows.length - 1, false);
    else if (event.key === "Enter" || event.key === " ") choose(index, true);
    else return;
    event.preventDefault();
  });
}

/**
 * Index of the window whose middle is closest to a time; with overlapping windows several hold it.
 * @param {Window[]} windows
 * @param {number} time_s
 */
function nearest(windows, time_s) {
  let best = 0;
  const away = (/** @type {Window} */ { start_s, end_s }) => Math.abs((start_s + end_s) / 2 - time_s);
  windows.forEach((window, index) => {
    if (away(window) < away(windows[best])) best = index;
  });
  return best;
}

/** @param {any} exhibit @param {string} score */
function caption({ chart, pictures, windows, window_threshold }, score) {
  const parts = [];
  if (pictures) {
    const speech = pictures.speech === null ? "" : "; where the voice activity detector hears speech";
    const bars = windows.length ? `; ${score} of each window` : "";
    parts.push(`From top: waveform${speech}${bars}; spectrogram, ${pictures.range_db} from its strongest point to the ground.`);
  }
  if (windows.length && window_threshold === null) {
    parts.push(
      "The model is not calibrated: no height stands for human or synthetic speech. Dotted: the largest raw score, in " +
        "either direction. Hatched: not scored.",
    );
  } else if (windows.length) {
    parts.push(
      "Bars up: towards H1 (synthetic); down: towards H2 (human). Dashed: window threshold " +
        `${window_threshold}. Dotted: bound. Hatched: not scored.`,
    );
  }
  if (chart.spans.length) parts.push("Shaded, with a bar on top: flagged stretch.");
  return parts.join(" ");
}

/**
 * @param {string} kind
 * @param {number} height
 * @param {string | null} viewBox
 * @param {...Node} children
 */
function drawing(kind, height, viewBox, ...children) {
  const drawn = svg("svg", { class: kind, "aria-hidden": "true", width: "100%", height, viewBox });
  if (viewBox !== null) drawn.setAttribute("preserveAspectRatio", "none");
  drawn.append(svg("rect", { class: "ground", width: "100%", height: "100%" }), ...children);
  return drawn;
}

/**
 * @param {any[]} spans
 * @param {string} height
 */
function spanRects(spans, height) {
  return spans.map((span) => rect({ ...span, height }));
}

/** @param {any} item */
function rect({ x, y, width, height, kind }) {
  return svg("rect", { class: kind, x, y, width, height });
}

/**
 * @param {string} kind
 * @param {string} y
 */
function level(kind, y) {
  return svg("line", { class: kind, x1: 0, x2: "100%", y1: y, y2: y });
}

/**
 * @param {number} height
 * @param {(string | number)[][]} labels
 */
function axisText(height, labels) {
  const texts = labels.map(([y, label]) => svg("text", { x: "100%", y }, String(label)));
  return svg("svg", { class: "y-axis", "aria-hidden": "true", width: "100%", height }, ...texts);
}

/**
 * @param {number} part_s
 * @param {number} whole_s
 */
function place(part_s, whole_s) {
  return `${whole_s > 0 ? Math.min(100, (100 * part_s) / whole_s) : 0}%`;
}
