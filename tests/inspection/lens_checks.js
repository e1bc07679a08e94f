// Uses the lens as a reader would and tells the frame around it what it found, for test_lens_browser.py.
const found = {};
addEventListener("load", () => {
  const grid = document.getElementById("grid"), box = document.getElementById("scroll"), panel = document.getElementById("panel");
  const key = (name, fields = {}) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, ...fields }));
  const rows = [...grid.querySelectorAll("tbody tr:not(.group)")], shown = () => rows.filter((row) => !row.hidden);
  const here = () => [Number(document.activeElement.dataset.r), Number(document.activeElement.dataset.t)];
  const stops = () => [...grid.querySelectorAll("td")].filter((it) => it.tabIndex === 0).length;

  found.inner = innerWidth; found.width = document.documentElement.scrollWidth;
  found.roles = [grid.getAttribute("role"), rows[0].cells[1].getAttribute("role"), rows[0].cells[0].scope];
  found.rows = shown().length;
  const every = document.getElementById("every");
  every.click(); found.every = shown().length;

  const first = rows[0].cells[0], left = first.getBoundingClientRect().left;
  found.scrolls = box.scrollWidth > box.clientWidth; found.more = document.getElementById("frame").className;
  const group = grid.querySelector("tr.group span");
  box.scrollLeft = 90; found.sticky = Math.abs(first.getBoundingClientRect().left - left) < 1;
  found.group = group.getBoundingClientRect().left >= box.getBoundingClientRect().left; box.scrollLeft = 0;

  rows[0].cells[1].click(); found.clicked = here(); found.stops = stops();
  key("ArrowRight"); key("ArrowDown"); found.moved = here();
  key("Home"); found.home = here(); key("End"); found.end = here();
  key("End", { ctrlKey: true }); found.last = here();
  key("ArrowDown"); found.edge = here(); found.stops_after = stops();
  key("PageUp"); key("Home", { ctrlKey: true }); found.start = here();
  const cell = document.activeElement.getBoundingClientRect(), frame = box.getBoundingClientRect();
  found.visible = cell.left >= frame.left && cell.right <= frame.right + 1;
  found.label = document.activeElement.getAttribute("aria-label");

  every.click(); found.chosen = document.querySelector("td.at").dataset.r;
  every.click(); rows[1].cells[2].click();
  found.entries = panel.querySelectorAll("table tr").length; found.panel = document.getElementById("details").textContent;
  found.open = getComputedStyle(panel).visibility; found.fixed = getComputedStyle(panel).position;
  const contrast = grid.querySelector("tr.contrast").cells[2];
  contrast.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
  found.hovered = document.getElementById("where").textContent; found.plausible = document.getElementById("details").textContent;
  grid.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
  found.left = document.getElementById("where").textContent;
  key("Enter"); found.entered = document.activeElement.id;
  key("Escape"); found.escaped = here(); found.closed = getComputedStyle(panel).visibility;

  const channel = (c) => { const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => { const [r, g, b] = rgb.match(/[\d.]+/g).map(Number).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (it) => { const own = getComputedStyle(it).backgroundColor; return own.startsWith("rgba(0, 0, 0, 0") && it.parentElement ? behind(it.parentElement) : own; };
  const ratio = (it) => { const [b, a] = [light(getComputedStyle(it).color), light(behind(it))].sort((x, y) => x - y); return (a + 0.05) / (b + 0.05); };
  const worst = () => Math.min(...[...document.querySelectorAll("td, th, p, h1, h2, h3, dt, small, label, #text span")].map(ratio));
  const select = document.getElementById("measure"), colours = () => rows.map((row) => row.cells[2].style.backgroundColor).join();
  found.painted = new Set(); found.contrast = [];
  for (const option of select.options) {
    select.value = option.value; select.dispatchEvent(new Event("change"));
    found.painted.add(colours()); found.contrast.push(worst());
  }
  document.getElementById("theme").click(); found.painted.add(colours()); found.contrast.push(worst());
  found.painted = found.painted.size;
  found.scripts = document.querySelectorAll("script").length;
  parent.postMessage(JSON.stringify(found), "*");
});
