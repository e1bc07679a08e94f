// Uses the page as a reader would and tells the frame around it what it found, for test_browser.py.
const found = {};
const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const column = (table, i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent.trim());
addEventListener("load", () => {
  const tip = document.getElementById("tip"), table = document.getElementById("table-quality");
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const at = heads.indexOf("Diversity"), sort = table.tHead.rows[0].cells[at].querySelector("button");
  const before = column(table, at);
  sort.click(); found.ascending = column(table, at); found.aria = table.tHead.rows[0].cells[at].ariaSort;
  sort.click(); found.descending = column(table, at);
  sort.click(); found.restored = JSON.stringify(column(table, at)) === JSON.stringify(before);

  const wide = document.getElementById("table-overview"), box = wide.parentNode, name = wide.tBodies[0].rows[0].cells[0];
  const left = name.getBoundingClientRect().left; box.scrollLeft = 200;
  found.sticky = Math.abs(name.getBoundingClientRect().left - left) < 1; box.scrollLeft = 0;

  const drawn = [...document.querySelectorAll("figure svg")].filter((it) => it.getClientRects().length);
  found.figures = drawn.length;
  found.edge = Math.max(...drawn.map((it) => it.getBoundingClientRect().right));
  found.letters = Math.min(...drawn.map((it) => 9 * it.getScreenCTM().a)); // drawing.py's type, in pixels

  found.width = document.documentElement.scrollWidth; found.inner = innerWidth;
  const numbers = [...table.querySelectorAll(".num")];
  found.stops = numbers.filter((it) => it.tabIndex === 0).length;
  numbers[0].focus(); found.number = tip.hidden ? "" : tip.textContent;
  key(numbers[0], "ArrowDown");
  found.moved = document.activeElement !== numbers[0] && document.activeElement.matches(".num");
  key(document.activeElement, "Escape"); found.escaped = tip.hidden;

  const shown = () => [...document.querySelectorAll("#samples article")].filter((it) => !it.hidden);
  found.articles = shown().length; found.first = shown()[0].dataset.number;
  document.getElementById("next").click(); found.next = shown()[0].dataset.number;
  document.getElementById("previous").click(); document.getElementById("previous").click();
  found.around = shown()[0].dataset.number;
  const tick = (setting) => document.querySelector(`input[name=setting][value="${setting}"]`).click();
  tick("beam-acd"); found.several = shown().map((it) => it.dataset.setting);
  found.prompts = [...document.querySelectorAll("#samples blockquote")].filter((it) => it.offsetHeight).length;
  tick("greedy-acd"); found.picked = shown()[0].dataset.setting;
  const marks = [...shown()[0].querySelectorAll("mark")];
  marks[0].focus(); found.token = document.getElementById("token").textContent; found.told = marks[0].className;
  found.marks = marks.filter((it) => it.tabIndex === 0).length;
  key(marks[0], "ArrowRight"); found.next_mark = document.activeElement === marks[1];

  const colour = () => getComputedStyle(document.body).backgroundColor;
  const was = colour(); document.getElementById("theme").click(); found.themes = [was, colour()];
  const channel = (c) => { const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => {
    const [r, g, b] = rgb.match(/[\d.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (it) => {
    const [b, a] = [light(getComputedStyle(it).color), light(colour())].sort((x, y) => x - y);
    return (a + 0.05) / (b + 0.05);
  };
  const kinds = "p.note, .verdict, small, nav a, main a, h1, .card p, figcaption";
  const worst = () => Math.min(...[...document.querySelectorAll(kinds)].map(contrast));
  found.contrast = [worst()]; document.getElementById("theme").click(); found.contrast.push(worst());
  parent.postMessage(JSON.stringify(found), "*");
});
