// One column: a setting, its text as it grows, and its numbers.
import { fill, inWords, make, read, shortName } from "./fields.js";

export class Column {
  /** `on`: edited(), removed(column), asked(column, position). */
  constructor(about, setting, on) {
    Object.assign(this, { about, on, element: document.getElementById("column").content.cloneNode(true).firstElementChild });
    this.text = this.part("text");
    this.part("coherence").hidden = !about.coherence;
    this.part("start").append(...["", ...Object.keys(about.settings)].map((value) => make("option", { value, textContent: value || "preset" })));
    this.part("start").addEventListener("change", ({ target }) => {
      if (target.value) this.set(about.settings[target.value]);
      target.value = "";
      on.edited();
    });
    this.part("fields").addEventListener("input", () => { this.describe(); on.edited(); });
    this.part("remove").addEventListener("click", () => on.removed(this));
    this.text.addEventListener("click", ({ target }) => { if (target.matches(".t")) this.point(this.spans.indexOf(target), true); });
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.set(setting);
    this.clear();
  }

  part(name) { return this.element.querySelector(`.${name}`); }

  get setting() { return read(this.element, this.about); }

  set(setting) { fill(this.element, this.about, setting); this.describe(); }

  describe() {
    const now = JSON.stringify(this.setting), presets = Object.entries(this.about.settings);
    this.name = presets.find(([, setting]) => JSON.stringify(setting) === now)?.[0] ?? shortName(this.setting);
    this.element.querySelector("h2").textContent = this.name;
    this.element.querySelector("summary").textContent = inWords(this.setting);
    this.text.setAttribute("aria-label", `Text of ${this.name}. Arrow keys move between tokens, Enter shows what the layers wanted.`);
  }

  // the text ------------------------------------------------------------------------------------------------------
  clear(note = "Nothing yet.") {
    Object.assign(this, { tokens: [], spans: [], changed: 0, growth: [], at: -1 });
    this.text.replaceChildren(make("p", { className: "empty", textContent: note }));
    this.text.classList.remove("growing");
    for (const number of this.element.querySelectorAll(".stat b")) number.textContent = "–";
    for (const it of this.element.querySelectorAll(".stat small")) it.textContent = "";
    for (const line of this.element.querySelectorAll("polyline")) line.setAttribute("points", "");
  }

  begin() { this.clear(""); this.text.replaceChildren(); this.text.classList.add("growing"); }

  take(event) {
    if (event.pieces) this.grow(event);
    for (const [position, plain] of event.changed ?? []) this.mark(position, plain);
    if (event.growth) this.measure(event.growth);
    if (event.error) this.text.append(make("p", { className: "error", textContent: event.error }));
    if (event.done) this.text.classList.remove("growing");
  }

  grow({ at, pieces, tokens }) {
    for (const span of this.spans.splice(at)) span.remove();
    this.tokens.splice(at, Infinity, ...tokens);
    const added = pieces.map((textContent) => make("span", { className: "t", textContent }));
    this.spans.push(...added);
    this.text.append(...added);
  }

  mark(position, plain) {
    const span = this.spans[position];
    if (!span) return;
    span.classList.add("changed");
    span.title = `the last layer alone: “${plain}”`;
    this.changed += 1;
  }

  measure(growth) {
    this.growth.push(growth);
    for (const key of ["diversity", "coherence"]) {
      const points = this.growth.filter((each) => each[key] !== undefined);
      if (!points.length) continue;
      const length = Math.max(this.expected ?? 0, points.at(-1).tokens), height = (it) => 23 - 22 * Math.max(0, it[key]);
      this.part(key).querySelector("b").textContent = points.at(-1)[key].toFixed(2);
      this.part(key).querySelector("polyline").setAttribute("points",
        points.map((each) => `${(100 * each.tokens / length).toFixed(1)},${height(each).toFixed(1)}`).join(" "));
    }
    const share = this.changed / Math.max(1, growth.tokens), contrasts = Object.keys(this.ran?.exits ?? {}).length > 0;
    this.part("altered").querySelector("b").textContent = contrasts ? `${Math.round(100 * share)} %` : "none";
    this.part("altered").querySelector("small").textContent = contrasts ? `${this.changed} of ${growth.tokens} tokens` : "";
  }

  speed(pace, plain) {
    if (!pace) return;
    const ratio = plain ? `${(pace / plain).toFixed(2)} × plain` : "–";
    this.part("pace").querySelector("b").textContent = this.isPlain ? "plain" : ratio;
    this.part("pace").querySelector("small").textContent = `${pace.toFixed(1)} tokens per second`;
  }

  // choosing a token ----------------------------------------------------------------------------------------------
  point(position, asks) {
    if (!this.spans[position]) return;
    this.spans[this.at]?.classList.remove("here");
    this.at = position;
    this.spans[position].classList.add("here");
    this.spans[position].scrollIntoView({ block: "nearest" });
    if (asks) this.on.asked(this, position);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this.point(Math.min(Math.max(0, this.at + step), this.spans.length - 1));
    else if (event.key === "Enter" && this.at >= 0) this.on.asked(this, this.at);
    else return;
    event.preventDefault();
  }
}
