// What is shown of a finished recording. All words come from the server, which takes them from the report's own code.

import { timeline } from "./chart.js";
import { el, svg } from "./dom.js";
import { count } from "./text.js";

const BAR_PX = 16;
const SCALE_PX = 20;
const WINDOWS_AT_ONCE = 200;

/**
 * One examined channel.
 * @param {any} exhibit of the view
 * @param {any} view
 * @param {string} name of the recording
 * @param {(window: import("./chart.js").Window, play: boolean) => void} onChoose
 * @returns {import("./chart.js").Timeline}
 */
export function exhibitSection(exhibit, view, name, onChoose) {
  const drawn = timeline(exhibit, view.score, name, onChoose);
  const title = exhibit.channel ? "h5" : "h4";
  const element = el(
    "section",
    { class: "channel-result" },
    exhibit.channel ? el("h4", {}, exhibit.channel) : null,
    verdictBox(exhibit, view),
    exhibit.windows.length || exhibit.pictures ? drawn.element : null,
    exhibit.trace ? traceSection(exhibit.trace, title) : null,
    exhibit.acoustics ? acousticsSection(exhibit.acoustics, view, title) : null,
    exhibit.windows.length ? windowTable(exhibit.windows, view.score) : null,
    factsTable(exhibit.facts),
  );
  return { element, playhead: drawn.playhead };
}

/** @param {any} exhibit @param {any} view */
function verdictBox(exhibit, view) {
  const figures = exhibit.figures.map((/** @type {string[]} */ [term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  const [first, ...others] = exhibit.reasons;
  return el(
    "div",
    { class: `result ${exhibit.verdict}` },
    el("p", { class: "verdict-line" }, badge(exhibit), el("span", { class: "opinion" }, exhibit.opinion)),
    el("dl", { class: "figures" }, ...figures),
    exhibit.marker_x === null || view.scale === null ? null : scaleDrawing(exhibit, view.scale),
    first ? el("p", { class: "why" }, el("span", { class: "label" }, `${exhibit.decided}: `), first) : null,
    others.length ? el("ul", { class: "why", "aria-label": "Further remarks" }, ...others.map((each) => el("li", {}, each))) : null,
    exhibit.position ? el("p", { class: "why" }, exhibit.position) : null,
  );
}

/** @param {{verdict: string, word: string}} exhibit */
export function badge({ verdict, word }) {
  return el("span", { class: `badge ${verdict}` }, word);
}

/** @param {any} exhibit @param {any} scale */
function scaleDrawing(exhibit, scale) {
  const label = `LLR ${exhibit.figures[0][1]} on the scale from ${scale.low} to ${scale.high}; at or below ${scale.bonafide} bona fide, at or above ${scale.spoof} spoof`;
  const drawn = svg(
    "svg",
    { class: "llr-scale", role: "img", "aria-label": label, width: "100%", height: SCALE_PX },
    svg("rect", { class: "human", x: 0, y: 6, width: scale.bonafide_x, height: 8 }),
    svg("rect", { class: "undecided", x: scale.bonafide_x, y: 6, width: scale.middle_width, height: 8 }),
    svg("rect", { class: "synthetic", x: scale.spoof_x, y: 6, width: scale.spoof_width, height: 8 }),
    svg("line", { class: "zero", x1: scale.zero_x, x2: scale.zero_x, y1: 3, y2: 17 }),
    svg("line", { class: "halo", x1: exhibit.marker_x, x2: exhibit.marker_x, y1: 0, y2: SCALE_PX }),
    svg("line", { class: "marker", x1: exhibit.marker_x, x2: exhibit.marker_x, y1: 0, y2: SCALE_PX }),
  );
  return el(
    "div",
    { class: "scale-figure" },
    drawn,
    el(
      "p",
      { class: "scale-ends" },
      el("span", {}, `${scale.low} supports H2 (human)`),
      el("span", {}, `supports H1 (synthetic) ${scale.high}`),
    ),
    el("p", { class: "scale-note" }, `Up to ${scale.bonafide} bona fide, from ${scale.spoof} spoof; in between inconclusive. Ends: bound of the calibration.`),
  );
}

/** @param {any} trace @param {string} title element of its heading */
function traceSection(trace, title) {
  const rows = trace.rows.map((/** @type {any} */ row) => {
    const cells = [el("th", { scope: "row" }, row.name, " ", el("span", { class: "origin" }, row.origin))];
    cells.push(el("td", { class: "bar-column" }, similarityBar(row, trace)), el("td", { class: "num" }, row.similarity));
    if (trace.with_llrs) cells.push(el("td", { class: "num" }, row.llr));
    return el("tr", {}, ...cells);
  });
  const heads = [["Known source", ""], [`Similarity, ${trace.low} to ${trace.high}`, "bar-column"], ["Similarity", "num"]];
  if (trace.with_llrs) heads.push(["LLR", "num"]);
  const measure = trace.softmax
    ? "Similarities are relative among the known sources, all of which sum to 1."
    : `Similarities are cosines, from ${trace.low} to ${trace.high}.`;
  return el(
    "section",
    { class: "trace" },
    el(title, {}, "Similar sources"),
    el("p", { class: "opinion" }, el("strong", {}, trace.headline), ` ${trace.opinion}`),
    trace.channel_warning ? el("p", { class: "notice warning", role: "note" }, el("strong", {}, "No support. "), trace.channel_warning) : null,
    trace.group_warning ? el("p", { class: "notice warning", role: "note" }, el("strong", {}, "Not told apart. "), trace.group_warning) : null,
    el("p", { class: "why" }, "Similarities say what the recording resembles: they attribute it to no source and exclude no source that is not known."),
    folded(
      `The closest of ${count(trace.enrolled, "known source")}`,
      el(
        "table",
        { class: "data similarities" },
        el("caption", {}, `From ${count(trace.windows, "traced window")}. Rule: ${trace.rule}. ${measure}`),
        head(heads),
        el("tbody", {}, ...rows),
      ),
      trace.known ? channelTest(trace) : null,
    ),
  );
}

/** @param {any} trace */
function channelTest(trace) {
  if (!trace.channel_lines.length) {
    return el("p", { class: "why" }, "No channel test was made: whether the similarity follows the channel is open.");
  }
  const lines = trace.channel_lines.map((/** @type {any} */ line) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, line.title),
      el("td", { class: line.outcome === "failed" ? "outcome failed" : "outcome" }, line.outcome),
      el("td", {}, `${line.found} ${line.meaning}`),
    ),
  );
  return el(
    "table",
    { class: "data channel-test" },
    el("caption", {}, "Channel test: is the source found in the speech, or in the channel?"),
    head([["Part", ""], ["Result", ""], ["What was found, and what it means", ""]]),
    el("tbody", {}, ...lines),
  );
}

/** @param {any} row @param {any} trace */
function similarityBar(row, trace) {
  const kind = row.accepted && !trace.channel_warning ? "accepted" : "other";
  const drawn = svg("svg", { class: "similarity", role: "img", "aria-label": row.description, width: "100%", height: BAR_PX });
  drawn.append(svg("rect", { class: "ground", width: "100%", height: "100%" }));
  drawn.append(svg("rect", { class: kind, x: row.x, y: 3, width: row.width, height: BAR_PX - 6 }));
  for (const [name, x] of [["zero", trace.zero_x], ["halo", trace.threshold_x], ["threshold", trace.threshold_x]]) {
    if (x !== null) drawn.append(svg("line", { class: name, x1: x, x2: x, y1: 0, y2: "100%" }));
  }
  return drawn;
}

/** @param {any} acoustics @param {any} view @param {string} title element of its heading */
function acousticsSection(acoustics, view, title) {
  const rows = acoustics.rows.map((/** @type {any} */ row) =>
    el(
      "tr",
      { class: row.remarked ? "remarked" : null },
      el("th", { scope: "row" }, row.label),
      el("td", { class: "num" }, row.unit ? `${row.value} ${row.unit}` : row.value),
      el("td", { class: "num" }, row.human),
      el("td", { class: "num" }, row.synthetic),
    ),
  );
  const remarks = acoustics.remarks.length
    ? el("ul", { class: "why" }, ...acoustics.remarks.map((/** @type {string} */ remark) => el("li", {}, remark)))
    : el("p", { class: "why" }, "No measure is unusual among the human reference recordings.");
  const caption =
    `Percentile: how many of 100 reference recordings lie below the value, of ${acoustics.human_recordings} human and of ` +
    `${acoustics.synthetic_recordings} synthetic ones. Reference: ${acoustics.reference}.`;
  return el(
    "section",
    { class: "acoustics" },
    el(title, {}, "Acoustic observations"),
    remarks,
    el("p", { class: "why" }, view.observations),
    folded(
      `All ${count(acoustics.rows.length, "measure")} of ${acoustics.examined} of speech, with percentiles`,
      el(
        "table",
        { class: "data measure-list" },
        el("caption", {}, caption),
        head([["Measure", ""], ["Value", "num"], ["Human", "num"], ["Synthetic", "num"]]),
        el("tbody", {}, ...rows),
      ),
    ),
  );
}

/** @param {any[]} windows @param {string} score what their scores are called */
function windowTable(windows, score) {
  const body = el("tbody");
  const more = el("button", { type: "button", class: "button small", hidden: true, onclick: () => fill() }, "Show more windows");
  const fill = () => {
    const from = body.childElementCount;
    for (const each of windows.slice(from, from + WINDOWS_AT_ONCE)) {
      const cells = [each.span, each.speech, each.score].map((value) => el("td", { class: "num" }, value));
      body.append(el("tr", { class: each.flagged ? "flagged" : null }, el("th", { scope: "row" }, String(each.number)), ...cells, el("td", {}, each.note)));
    }
    more.hidden = body.childElementCount >= windows.length;
  };
  const table = el("table", { class: "data window-list" }, head([["Window", "num"], ["Time", "num"], ["Speech, s", "num"], [score === "LLR" ? score : "Raw score", "num"], ["Note", ""]]), body);
  const details = folded(`Every window (${windows.length})`, table, more);
  details.addEventListener("toggle", () => body.childElementCount || fill());
  return details;
}

/** @param {[string, string][]} facts */
function factsTable(facts) {
  const rows = facts.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  return folded("File and condition", el("dl", { class: "properties wide" }, ...rows));
}

/**
 * What the model must not be relied on for.
 * @param {any} view
 */
export function limitations(view) {
  const lists = [view.model, view.tracer]
    .filter((network) => network !== null && network.limitations.length)
    .flatMap((network) => [
      el("p", { class: "why" }, el("span", { class: "label" }, `${network.name}, version ${network.version}`)),
      el("ul", { class: "why" }, ...network.limitations.map((/** @type {string} */ each) => el("li", {}, each))),
    ]);
  return folded("What this result must not be used for", ...lists, el("p", { class: "why" }, linkTo("#limits", "The same for every result")));
}

/** @param {string} href @param {string} words */
function linkTo(href, words) {
  return el("a", { href }, words);
}

/**
 * What is there when it is wanted; a table that is wider than the screen scrolls by itself.
 * @param {string} title
 * @param {...(Node | null)} children
 */
function folded(title, ...children) {
  const held = children.map((child) =>
    child instanceof HTMLTableElement ? el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, child) : child,
  );
  return el("details", {}, el("summary", {}, title), ...held);
}

/** @param {string[][]} columns words and class of each */
export function head(columns) {
  return el("thead", {}, el("tr", {}, ...columns.map(([words, kind]) => el("th", { scope: "col", class: kind || null }, words))));
}
