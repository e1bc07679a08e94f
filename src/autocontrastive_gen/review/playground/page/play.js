// The page: a prompt, two to four columns, one trial at a time, and the trial in the page's address.
import { Column } from "./column.js";
import { make } from "./fields.js";
import { show } from "./layers.js";

const about = JSON.parse(document.getElementById("about").textContent);
const get = (id) => document.getElementById(id);
const [FEWEST, MOST] = [2, about.limits.settings];
let columns = [], running = null, ran = null;

const say = (message) => { get("message").textContent = message ?? ""; get("message").hidden = !message; };

// the trial -------------------------------------------------------------------------------------------------------
const trial = () => ({
  prompt: get("prompt").value, new_tokens: get("new-tokens").valueAsNumber, seed: get("seed").valueAsNumber,
  settings: columns.map((column) => column.setting),
});
const encoded = (content) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(content))))
  .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const decoded = (text) => JSON.parse(new TextDecoder().decode(
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0))));

const draw = () => {
  get("columns").replaceChildren(...columns.map((column) => column.element));
  get("add").disabled = columns.length >= MOST;
  for (const column of columns) column.part("remove").disabled = columns.length <= FEWEST;
};
const edited = () => { history.replaceState(null, "", `#${encoded(trial())}`); };
const removed = (column) => { columns = columns.filter((it) => it !== column); draw(); edited(); };
const column = (setting) => new Column(about, setting, { edited, removed, asked });

/** Shows which of the prompts at hand this is, if it is one. */
const named = () => {
  const at = about.prompts.findIndex(({ text }) => text === get("prompt").value);
  get("pick").value = at < 0 ? "" : String(at);
};

/** Takes a trial as the library writes it; the server has the last word on its values. */
const open = (content) => {
  const presets = Object.values(about.settings), settings = (content.settings ?? []).slice(0, MOST);
  const missing = presets.slice(0, Math.max(0, FEWEST - settings.length));
  columns = [...settings, ...missing].map(column);
  while (columns.length < FEWEST) columns.push(column({}));
  get("prompt").value = content.prompt ?? about.prompts[0].text;
  named();
  get("new-tokens").value = content.new_tokens ?? 80;
  get("seed").value = content.seed ?? 2023;
  get("layers").hidden = true;
  draw();
};
const fromAddress = () => {
  stop();
  if (location.hash.length < 2) return open(about.trial ?? {});
  try { open(decoded(location.hash.slice(1))); say(); } catch {
    open(about.trial ?? {});
    say("The link is damaged or belongs to another model, so the page has its usual settings.");
  }
};

// its texts -------------------------------------------------------------------------------------------------------
const post = (path, content, signal) => fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content), signal,
});
const refusal = async (answer) => (await answer.json().catch(() => ({}))).message ?? `the server answered ${answer.status}`;

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

const follow = async (answer, shown) => {
  const paces = new Map();
  let plain = null;
  for await (const event of lines(answer)) {
    if ("plain" in event) { plain = event.plain; shown.forEach((it, i) => { it.isPlain = i === plain; }); continue; }
    shown[event.setting]?.take(event);
    if (event.pace) paces.set(event.setting, event.pace);
    if (event.pace) shown.forEach((it, i) => it.speed(paces.get(i), paces.get(plain)));
  }
};

const go = async () => {
  if (running || !get("ask").reportValidity()) return;
  say();
  const content = trial(), shown = [...columns], control = new AbortController();
  running = control;
  ran = content;
  get("layers").hidden = true;
  get("stop").hidden = false;
  get("go").disabled = true;
  try {
    const answer = await post("texts", content, control.signal);
    if (!answer.ok) throw new Error(await refusal(answer));
    shown.forEach((it, i) => { it.ran = content.settings[i]; it.expected = content.new_tokens; it.begin(); });
    await follow(answer, shown);
  } catch (error) {
    if (error.name === "TypeError") say("The playground's server does not answer; start it again and reload the page.");
    else if (error.name !== "AbortError") say(error.message);
  }
  for (const it of shown) it.text.classList.remove("growing");
  running = null;
  get("stop").hidden = true;
  get("go").disabled = false;
};
const stop = () => running?.abort();

// the layers ------------------------------------------------------------------------------------------------------
async function asked(column, position) {
  const content = { trial: { ...ran, settings: [column.ran] }, tokens: column.tokens.slice(0, position + 1) };
  try {
    const answer = await post("layers", content);
    if (!answer.ok) throw new Error(await refusal(answer));
    const closed = () => { get("layers").hidden = true; column.text.focus(); };
    const what = { name: column.name, position, text: column.spans[position].textContent, depth: about.layers };
    show(get("layers"), await answer.json(), what, closed);
    get("layers").scrollIntoView({ block: "nearest" });
    say();
  } catch (error) { say(error.message); }
}

// the buttons -----------------------------------------------------------------------------------------------------
get("ask").addEventListener("submit", (event) => { event.preventDefault(); go(); });
get("ask").addEventListener("input", edited);
get("stop").addEventListener("click", stop);
get("add").addEventListener("click", () => {
  const taken = columns.map((it) => it.name), next = Object.keys(about.settings).find((name) => !taken.includes(name));
  columns.push(column(about.settings[next] ?? columns.at(-1).setting));
  draw();
  edited();
});
get("pick").append(...about.prompts.map(({ from, text }, i) =>
  make("option", { value: i, textContent: `${from}: ${text.slice(0, 60)}…` })));
get("pick").addEventListener("change", ({ target }) => {
  if (target.value !== "") get("prompt").value = about.prompts[target.value].text;
  edited();
});
get("prompt").addEventListener("input", named);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) go();
  if (event.key === "Escape" && !get("layers").hidden) get("layers").querySelector("button").click();
});
get("link").addEventListener("click", async ({ target }) => {
  edited();
  try { await navigator.clipboard.writeText(location.href); target.textContent = "Copied"; } catch { prompt("The link", location.href); }
  setTimeout(() => { target.textContent = "Copy the link"; }, 1500);
});
get("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(trial(), null, 1)}\n`], { type: "application/json" }));
  make("a", { href: url, download: "trial.json" }).click();
  URL.revokeObjectURL(url);
});
get("open").addEventListener("change", async ({ target }) => {
  try { open(JSON.parse(await target.files[0].text())); edited(); say(); } catch { say("That file does not hold a trial."); }
  target.value = "";
});
get("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.theme = root.dataset.theme; } catch { /* not kept */ }
});
try { if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme; } catch { /* not kept */ }
addEventListener("hashchange", fromAddress);
fromAddress();
