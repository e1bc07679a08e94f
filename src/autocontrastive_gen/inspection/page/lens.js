"use strict";
(() => {
  const data = JSON.parse(document.getElementById("lens").textContent);
  const { words, measures, kinds, tokens, rows, start } = data;
  const root = document.documentElement, at = (id) => document.getElementById(id);
  const measureOf = Object.fromEntries(measures.map((it) => [it.key, it]));

  const make = (tag, fields = {}, ...children) => {
    const it = Object.assign(document.createElement(tag), fields);
    it.append(...children);
    return it;
  };
  const marked = (word) => word.replaceAll("\n", "↵").replaceAll("\t", "⇥");
  const visible = (word) => marked(word).trim().replace(/\p{C}/gu, "�") || "␣".repeat(Math.max(1, word.length));
  const quoted = (word) => `“${marked(word)}”`;
  const written = (value) => value === null ? "–" : value === "inf" ? "∞" : Number(value) >= 1000
    ? Number(value).toLocaleString("en") : String(value);
  const share = (p) => p === null ? "–" : p >= 0.001 ? p.toFixed(3) : p > 0 ? "< .001" : "0";

  // Colour: where a value lies between the ends of its scale, and black or white letters on it. The ends are those of the
  // layers that are shown: contrasts may be infinitely far away.
  const ends = {}, every = at("every");
  const isShown = (row) => row.kind !== "direct" || !every || every.checked;
  const setEnds = () => {
    for (const { key } of measures) {
      const some = rows.filter((row) => row.kind !== "contrast" && isShown(row)).flatMap((row) => row.numbers[key]);
      const top = some.reduce((a, b) => typeof b === "number" && b > a ? b : a, 0);
      ends[key] = key === "probability" ? [0, 1] : key === "js_to_last" ? [0, Math.LN2] : key === "rank" ? [1, Math.max(top, 2)] : [0, top || 1];
    }
  };
  const place = (key, value) => {
    if (value === null) return null;
    if (value === "inf") return 1;
    const [low, high] = ends[key];
    return key === "rank" ? Math.min(1, Math.log(value) / Math.log(high)) : Math.min(1, (value - low) / (high - low));
  };
  let stops = [];
  const readStops = () => {
    const style = getComputedStyle(root);
    stops = [0, 1, 2, 3].map((i) => style.getPropertyValue(`--r${i}`).trim().match(/\w\w/g).map((it) => parseInt(it, 16)));
  };
  const colour = (share) => {
    const x = Math.min(Math.max(share, 0), 1) * 3, i = Math.min(Math.floor(x), 2);
    return stops[i].map((from, k) => Math.round(from + (stops[i + 1][k] - from) * (x - i)));
  };
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const letters = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.179 ? "#000" : "#fff";

  // The table.
  const cells = [], labels = [], heads = [], grid = at("grid");
  const came = (t) => t + 1 < tokens.length ? tokens[t + 1] : null;
  const head = make("tr", {}, make("th", { scope: "col", textContent: "after" }));
  tokens.forEach((token, t) => {
    heads.push(make("th", { scope: "col", title: quoted(words[token]) }, make("small", { textContent: start + t }), visible(words[token])));
    head.append(heads[t]);
  });
  const body = make("tbody");
  const mixed = rows.some((row) => row.kind === "exit") && rows.some((row) => row.kind === "direct");
  rows.forEach((row, r) => {
    if (row.kind === "contrast" && (!r || rows[r - 1].kind !== "contrast")) {
      const group = make("th", { colSpan: tokens.length + 1, scope: "rowgroup" }, make("span", { textContent: "with contrast" }));
      body.append(make("tr", { className: "group" }, group));
    }
    const label = make("th", { scope: "row", title: kinds[row.kind] });
    if (row.layer === null) label.append(row.label);
    else label.append(make("span", { className: "word", textContent: "layer " }), String(row.layer));
    if (mixed && row.layer !== null) label.append(make("i", { textContent: row.kind === "direct" ? "○" : "●", ariaHidden: "true" }));
    const line = make("tr", { className: row.kind }, label);
    labels.push(label);
    cells.push(tokens.map((_, t) => {
      const word = words[row.top[t][0][0]];
      const cell = make("td", { textContent: visible(word), tabIndex: -1 });
      cell.setAttribute("role", "gridcell");
      cell.dataset.r = r;
      cell.dataset.t = t;
      if (row.top[t][0][0] === came(t)) cell.className = "came";
      line.append(cell);
      return cell;
    }));
    body.append(line);
  });
  const foot = make("tr", {}, make("th", { scope: "row", textContent: "came next" }));
  tokens.forEach((_, t) => foot.append(make("td", { textContent: came(t) === null ? "" : visible(words[came(t)]) })));
  grid.append(make("thead", {}, head), body, make("tfoot", {}, foot));

  // The text; a token has the colour of what the row says before it.
  const pieces = tokens.map((token, t) => {
    const piece = make("span", { textContent: words[token] });
    if (t) piece.addEventListener("click", () => { choose(chosen[0], t - 1); sheet(true); });
    return piece;
  });
  at("text").replaceChildren(...pieces);
  const read = (r, t) => {
    const key = at("measure").value;
    pieces.forEach((piece, i) => {
      const x = i ? place(key, rows[r].numbers[key][i - 1]) : null, rgb = x === null ? null : colour(x);
      piece.style.background = rgb ? `rgb(${rgb})` : "";
      piece.style.color = rgb ? letters(rgb) : "";
      piece.classList.toggle("here", i === t + 1);
    });
    at("caption").replaceChildren("The text ", make("small", { textContent: `coloured by what ${rows[r].label} says before each token` }));
  };

  // What stands beside a cell.
  const bars = (title, entries, t) => {
    const most = Math.max(...entries.map((it) => it[1] ?? 0), 1e-9), table = make("table");
    for (const [token, p, before] of entries) {
      const bar = make("i");
      bar.style.width = `${((p ?? 0) / most) * 100}%`;
      const value = before === undefined ? share(p) : `${share(before)} → ${share(p)}`;
      const line = make("tr", {}, make("th", { scope: "row", textContent: visible(words[token]), title: quoted(words[token]) }),
        make("td", { className: "bar" }, bar), make("td", { textContent: value }));
      if (token === came(t)) line.className = "came";
      table.append(line);
    }
    table.setAttribute("aria-label", title);
    return [make("h3", { textContent: title }), table];
  };
  const SVG = "http://www.w3.org/2000/svg";
  const drawn = (tag, fields, text = "") => {
    const it = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(fields)) it.setAttribute(key, value);
    it.textContent = text;
    return it;
  };
  const curve = (r, t, key) => {
    const layers = rows.map((row, i) => [row, i]).filter(([row]) => row.layer !== null);
    const points = layers.map(([row, i], x) => [layers.length > 1 ? (x / (layers.length - 1)) * 260 : 130, place(key, row.numbers[key][t]), i])
      .filter(([, y]) => y !== null).map(([x, y, i]) => [x, 60 - y * 56, i]);
    if (points.length < 2) return [];
    const svg = drawn("svg", { viewBox: "-4 0 268 78", role: "img", "aria-label": `${measureOf[key].title} by layer` });
    svg.append(drawn("line", { x1: 0, x2: 260, y1: 60, y2: 60 }), drawn("path", { d: `M${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}` }));
    for (const [x, y, i] of points) if (i === r) svg.append(drawn("circle", { cx: x, cy: y, r: 4.5 }));
    svg.append(drawn("text", { x: 0, y: 74 }, layers[0][0].label), drawn("text", { x: 260, y: 74, "text-anchor": "end" }, layers.at(-1)[0].label));
    return [make("h3", { textContent: `${measureOf[key].title} by layer` }), svg];
  };
  const show = (r, t) => {
    const row = rows[r], key = at("measure").value, next = came(t);
    const before = tokens.slice(Math.max(0, t - 9), t + 1).map((token) => words[token]).join("");
    const list = make("dl");
    for (const it of measures) {
      const on = it.key === key ? "on" : "";
      list.append(make("dt", { className: on, textContent: it.title, title: it.meaning }),
        make("dd", { className: on, textContent: written(row.numbers[it.key][t]) }));
    }
    const parts = [
      make("h2", { id: "where" }, row.label, make("small", { textContent: kinds[row.kind] === row.label ? "" : kinds[row.kind] })),
      make("p", { className: "after" }, "after ", make("q", { textContent: (t > 9 || start ? "…" : "") + before })),
      make("p", { className: "after" }, ...(next === null ? ["the text ends here"] : ["came next: ", make("q", { textContent: words[next] })])),
      ...bars("Most likely", row.top[t].map(([token, p]) => [token, p]), t),
    ];
    if (row.sets) {
      const [size, members] = row.sets[t], more = size > members.length ? `, the first ${members.length}` : "";
      const title = `Plausible: ${size.toLocaleString("en")} token${size === 1 ? "" : "s"}${more}; probability without → with contrast`;
      parts.push(...bars(title, members.map(([token, p, q]) => [token, q, p]), t));
    }
    at("details").replaceChildren(...parts, make("h3", { textContent: "Measures" }), list, ...curve(r, t, key));
    labels.forEach((it, i) => it.classList.toggle("here", i === r));
    heads.forEach((it, i) => it.classList.toggle("here", i === t));
    read(r, t);
  };

  const last = rows.findIndex((row) => row.kind === "last");

  // One cell is chosen; the pointer looks at others in passing.
  let chosen = null;
  const choose = (r, t, focus = true) => {
    if (chosen) {
      const old = cells[chosen[0]][chosen[1]];
      old.tabIndex = -1;
      old.classList.remove("at");
    }
    chosen = [r, t];
    const cell = cells[r][t];
    cell.tabIndex = 0;
    cell.classList.add("at");
    if (focus) cell.focus({ preventScroll: true });
    if (focus) reveal(cell);
    show(r, t);
  };
  const reveal = (cell) => {  // the sticky labels cover part of the box
    const inner = box.getBoundingClientRect(), own = cell.getBoundingClientRect();
    const left = inner.left + labels[0].offsetWidth, top = inner.top + head.offsetHeight;
    if (own.left < left) box.scrollLeft -= left - own.left;
    else if (own.right > inner.right) box.scrollLeft += own.right - inner.right;
    if (own.top < top) box.scrollTop -= top - own.top;
    else if (own.bottom > inner.bottom - 20) box.scrollTop += own.bottom - inner.bottom + 20;
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const place_of = (target) => {
    const cell = target.closest?.("tbody td");
    return cell && [Number(cell.dataset.r), Number(cell.dataset.t)];
  };
  const sheet = (open) => {
    at("panel").classList.toggle("open", open);
    document.body.classList.toggle("sheet", open);
  };
  grid.addEventListener("click", (event) => {
    const found = place_of(event.target);
    if (!found) return;
    choose(...found);
    sheet(true);
    const low = event.target.getBoundingClientRect().bottom - at("panel").getBoundingClientRect().top;
    if (getComputedStyle(at("panel")).position === "fixed" && low > 0) scrollBy(0, low + 16);
  });
  grid.addEventListener("focusin", (event) => {
    const found = place_of(event.target);
    if (found && String(found) !== String(chosen)) choose(...found, false);
  });
  grid.addEventListener("pointerover", (event) => {
    const found = event.pointerType === "mouse" && place_of(event.target);
    if (found) show(...found);
  });
  grid.addEventListener("pointerleave", () => { if (chosen) show(...chosen); });
  at("close").addEventListener("click", () => { sheet(false); cells[chosen[0]][chosen[1]].focus({ preventScroll: true }); });

  const open = () => rows.map((_, r) => r).filter((r) => !labels[r].parentNode.hidden);
  grid.addEventListener("keydown", (event) => {
    const found = place_of(event.target);
    if (!found) return;
    const seen = open(), y = seen.indexOf(found[0]), end = tokens.length - 1;
    const goal = {
      ArrowUp: [y - 1, found[1]], ArrowDown: [y + 1, found[1]], ArrowLeft: [y, found[1] - 1], ArrowRight: [y, found[1] + 1],
      Home: [event.ctrlKey ? 0 : y, 0], End: [event.ctrlKey ? seen.length - 1 : y, end],
      PageUp: [Math.max(0, y - 10), found[1]], PageDown: [Math.min(seen.length - 1, y + 10), found[1]],
    }[event.key];
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sheet(true); at("panel").focus(); return; }
    if (!goal) return;
    event.preventDefault();
    if (seen[goal[0]] !== undefined && goal[1] >= 0 && goal[1] <= end) choose(seen[goal[0]], goal[1]);
  });
  at("panel").addEventListener("keydown", (event) => { if (event.key === "Escape") at("close").click(); });

  // Colours and what a screen reader says, by the measure that the reader picks.
  const paint = () => {
    const key = at("measure").value, { unit, meaning } = measureOf[key];
    readStops();
    setEnds();
    rows.forEach((row, r) => tokens.forEach((_, t) => {
      const cell = cells[r][t], value = row.numbers[key][t], x = place(key, value);
      const rgb = x === null ? null : colour(x);
      cell.style.background = rgb ? `rgb(${rgb})` : "none";
      cell.style.color = rgb ? letters(rgb) : "";
      const next = came(t) === null ? "" : `; next came ${quoted(words[came(t)])}, rank ${written(row.numbers.rank[t])}`;
      cell.setAttribute("aria-label", `${row.label} after ${quoted(words[tokens[t]])}: ${quoted(words[row.top[t][0][0]])}, ` +
        `probability ${written(row.numbers.probability[t])}${key === "probability" || key === "rank" ? "" : `, ${measureOf[key].title} ${written(value)}`}${next}`);
    }));
    at("low").textContent = written(ends[key][0]);
    at("high").textContent = written(Number(ends[key][1].toPrecision(3)));
    at("meaning").textContent = `${measureOf[key].title}: ${meaning} (${unit}).`;
    if (chosen) show(...chosen);
  };
  at("measure").addEventListener("change", paint);
  const box = at("scroll");
  const sift = () => {
    rows.forEach((row, r) => { labels[r].parentNode.hidden = !isShown(row); });
    if (!isShown(rows[chosen[0]])) choose(last, chosen[1], false);
    paint();
    edge();
  };
  every?.addEventListener("change", sift);
  const edge = () => at("frame").classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  box.addEventListener("scroll", edge, { passive: true });
  addEventListener("resize", edge);

  // Light, dark, or as the system says; a file opened from disk may have no storage.
  try { if (localStorage.theme) root.dataset.theme = localStorage.theme; } catch { /* not kept */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  at("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.theme = root.dataset.theme; } catch { /* not kept */ }
    paint();
  });
  system.addEventListener("change", paint);

  const other = tokens.findIndex((_, t) => t && rows.some((row) => row.kind === "contrast" && row.top[t][0][0] !== rows[last].top[t][0][0]));
  readStops();
  setEnds();
  choose(last, Math.max(other, 0), false);
  sift();
})();
