"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const origins = JSON.parse(document.getElementById("origins").textContent);

  // Light, dark, or as the system says; a file opened from disk may have no storage.
  const theme = document.getElementById("theme"), root = document.documentElement;
  try { if (localStorage.theme) root.dataset.theme = localStorage.theme; } catch { /* not kept */ }
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.theme = root.dataset.theme; } catch { /* not kept */ }
  });

  // Tables sort by a click on a column's title; a third click restores the order of the report.
  for (const table of all("table.data")) {
    const body = table.tBodies[0], rows = [...body.rows];
    all("th .sort", table).forEach((button) => {
      const head = button.closest("th"), column = [...head.parentNode.cells].indexOf(head);
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort || "none"];
        for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
        const key = (row) => row.cells[column].dataset.k ?? row.cells[column].textContent;
        const sign = next === "descending" ? -1 : 1;
        const sorted = next === "none" ? rows : [...rows].sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y);
        });
        if (next !== "none") head.setAttribute("aria-sort", next);
        body.append(...sorted);
      });
    });
  }

  // What stands behind a number, on hover, focus or touch.
  const tip = document.getElementById("tip");
  const words = (it) => {
    const origin = origins[it.dataset.o];
    const lines = [`${it.dataset.v}${it.dataset.n ? `, n = ${it.dataset.n}` : ""}`];
    if (origin) {
      lines.push(`file ${origin.file}`, `stage ${origin.cell}`, `md5 ${origin.md5 || "not in dvc.lock"}`);
      if (origin.commit) lines.push(`inputs last touched by ${origin.commit}`);
    }
    return lines.join("\n");
  };
  const show = (it) => {
    tip.textContent = words(it);
    tip.hidden = false;
    const box = it.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const below = box.bottom + own.height + 12 < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - own.width - 8))}px`;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - own.height - 6)}px`;
  };
  const hide = () => { tip.hidden = true; };
  const told = (event) => event.target.closest?.(".num");
  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(on, (event) => { const it = told(event); if (it) show(it); });
    document.addEventListener(off, (event) => { if (told(event)) hide(); });
  }
  document.addEventListener("click", (event) => { const it = told(event); if (it) show(it); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true });

  // What the exits said of a changed token stands below the texts, so that it covers none of them.
  const token = document.getElementById("token");
  const tell = (event) => {
    const it = event.target.closest?.("mark[data-u]");
    if (!it) return;
    for (const other of all("mark.told")) other.classList.remove("told");
    it.classList.add("told");
    const [u, l, up, low] = (it.dataset.p || "").split(" ").map((p) => p && ` (${Number(p).toFixed(3)})`);
    const own = up ? ` Upper exit${up}, lower exit${low}.` : "";
    token.textContent = `“${it.textContent}”:${own} The upper exit wanted “${it.dataset.u}”${u || ""}, the lower exit “${it.dataset.l}”${l || ""}.`;
  };
  for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, tell);

  // A table is one stop of the tab key; arrows move between its numbers.
  for (const table of all("table.data")) {
    const grid = () => [...table.tBodies[0].rows].map((row) => all(".num", row)).filter((row) => row.length);
    all(".num", table).forEach((it, i) => { it.tabIndex = i ? -1 : 0; });
    table.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || !event.target.matches(".num")) return;
      const rows = grid(), y = rows.findIndex((row) => row.includes(event.target)), x = rows[y].indexOf(event.target);
      const row = rows[y + step[0]], goal = row && row[Math.min(x + step[1], row.length - 1)];
      if (!goal) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      goal.tabIndex = 0;
      goal.focus();
    });
  }

  // So is a text with its changed tokens.
  for (const text of all("#samples article")) {
    const marks = all("mark", text);
    marks.forEach((it, i) => { it.tabIndex = i ? -1 : 0; });
    text.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = marks.indexOf(event.target), goal = marks[at + step];
      if (at < 0 || !goal) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      goal.tabIndex = 0;
      goal.focus();
    });
  }

  // One prompt at a time, with every contrast that is ticked; what a second text shares with the first is not repeated.
  const samples = all("#samples article"), picks = all("[data-pick]"), ticks = all("input[name=setting]");
  if (samples.length) {
    let at = 0;
    const draw = () => {
      const ticked = ticks.filter((it) => it.checked).map((it) => it.value);
      const some = samples.filter((it) => picks.every((pick) => it.dataset[pick.dataset.pick] === pick.value) && ticked.includes(it.dataset.setting));
      const numbers = [...new Set(some.map((it) => it.dataset.number))];
      at = numbers.length ? (at + numbers.length) % numbers.length : 0;
      const seen = some.filter((it) => it.dataset.number === numbers[at]);
      samples.forEach((it) => {
        const place = seen.indexOf(it);
        it.hidden = place < 0;
        it.classList.toggle("follows", place > 0);
        it.classList.toggle("same", place > 0 && it.dataset.decode === seen[place - 1].dataset.decode);
      });
      document.getElementById("where").textContent = numbers.length ? `prompt ${at + 1} of ${numbers.length}` : "none";
    };
    [...picks, ...ticks].forEach((it) => it.addEventListener("change", draw));
    document.getElementById("previous").addEventListener("click", () => { at -= 1; draw(); });
    document.getElementById("next").addEventListener("click", () => { at += 1; draw(); });
    draw();
  }
})();
