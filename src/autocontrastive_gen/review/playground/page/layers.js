// What every layer wanted at one token.
import { make } from "./fields.js";

const SVG = "http://www.w3.org/2000/svg";
const visible = (text) => (text.trim() ? text : text.replaceAll("\n", "⏎").replaceAll(" ", "␣") || "∅").replaceAll("\n", "⏎");
const share = (it) => (it >= 0.995 ? "100 %" : it >= 0.1 ? `${Math.round(100 * it)} %` : it >= 0.001 ? `${(100 * it).toFixed(1)} %` : "< 0.1 %");

const bar = (probability) => {
  const svg = document.createElementNS(SVG, "svg"), rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", `${100 * probability}%`);
  rect.setAttribute("height", "100%");
  svg.append(rect);
  return svg;
};

const choice = ({ text, probability, came }) => make("li", { className: `choice${came ? " came" : ""}`, title: came ? "the token that came" : "" },
  bar(probability), make("span", { textContent: visible(text) }), make("small", { textContent: share(probability) }));

const names = { setting: () => "this setting", original: (depth) => `last layer (${depth})` };

const row = ({ exit, choices, came }, depth) => make("li", { className: "row" },
  make("span", { className: "name", textContent: names[exit]?.(depth) ?? `layer ${exit}` }),
  make("ol", { className: "choices" }, ...choices.map(choice)),
  make("span", { className: "own", textContent: `${share(came.probability)}, rank ${came.rank.toLocaleString("en")}` }));

/** Shows the rows of the server in the box; `closed` is called when the reader has seen enough. */
export const show = (box, rows, { name, position, text, depth }, closed) => {
  const close = make("button", { type: "button", className: "round remove", textContent: "×", ariaLabel: "Close", title: "Close (Escape)", onclick: closed });
  const where = make("p", { className: "where" }, `Token ${position + 1} of ${name} is `, make("q", { textContent: visible(text) }),
    ". Each row has the six most likely tokens of one layer, and at its end what it gave the token that came.");
  box.replaceChildren(make("header", {}, make("h2", { textContent: "What every layer wanted" }), close), where,
    make("ul", { className: "rows" }, ...rows.map((each) => row(each, depth))));
  box.hidden = false;
};
