// The fields of one setting: to and from {"decoder": {...}, "exits": {...}}, as the library reads it.
const LABELS = { temperature: "lower temperature" };
const words = (name) => name.replaceAll("_", " ");

export const make = (tag, properties = {}, ...children) => {
  const it = Object.assign(document.createElement(tag), properties);
  it.append(...children);
  return it;
};

const choose = (select, entries, chosen) => {
  select.replaceChildren(...entries.map(([value, textContent]) => make("option", { value, textContent })));
  select.value = String(chosen);
  return select;
};
const named = (names) => names.map((name) => [name, name]);

// An empty field stands for the default.
const field = ({ name, default: standard, allowed, choices, help }, value, label = words(name)) => {
  const shown = value ?? standard, whole = allowed.startsWith("a whole number");
  let input;
  if (typeof standard === "boolean") input = choose(make("select"), [["true", "yes"], ["false", "no"]], shown);
  else if (choices.length) input = choose(make("select"), named(choices), shown);
  else if (typeof standard === "number") input = make("input", { type: "number", step: whole ? "1" : "any", value: shown });
  else input = make("input", { type: "text", value: shown ?? "", placeholder: standard === null ? "none" : "default" });
  input.dataset.name = name;
  return make("label", { title: `${help} Allowed: ${allowed}.` }, label, input);
};

const entered = (box, parameters) => {
  const found = {};
  for (const { name, default: standard } of parameters) {
    const text = box.querySelector(`[data-name="${name}"]`).value.trim();
    if (text === "" || text === String(standard)) continue;
    found[name] = typeof standard === "boolean" ? text === "true" : isNaN(text) ? text : Number(text);
  }
  return found;
};

/** Fills the fields of a column from a setting; they keep each other consistent. */
export const fill = (column, about, { decoder = {}, exits = {} }) => {
  const part = (name) => column.querySelector(`.${name}`);
  const lowest = about.exitLayers.filter((layer) => layer < about.layers);
  const usual = lowest.toSorted((a, b) => Math.abs(a - about.layers * 5 / 6) - Math.abs(b - about.layers * 5 / 6))[0];
  const layers = about.exitLayers.map((layer) => [layer, `layer ${layer}`]), last = ["original", "last layer"];
  const decoderFields = (given) => part("of-decoder").replaceChildren(
    ...about.decoders[part("decoder").value].map((each) => field(each, given[each.name])));
  const contrastFields = (given) => {
    const { takesLower, parameters } = about.contrasts[part("contrast").value];
    part("lower").parentNode.hidden = !takesLower;
    part("of-contrast").replaceChildren(...parameters.map((each) => field(each, given[each.name], LABELS[each.name])));
  };
  const exitFields = (given) => {
    const select = (className, label, entries, chosen) =>
      make("label", {}, label, choose(make("select", { className }), entries, chosen));
    const [upper, lower = null] = given.contrast_layer_indices ?? ["original", usual], method = given.contrast_function?.name ?? "acd";
    const kind = part("reads").value;
    part("of-exits").replaceChildren(...{
      original: () => [],
      exit: () => [select("exit", "exit", layers, given.output_layer_index ?? usual)],
      contrast: () => [select("contrast", "method", named(Object.keys(about.contrasts)), method),
        select("upper", "upper exit", [last, ...layers], upper), select("lower", "lower exit", [["", "its own"], ...layers], lower === null ? "" : lower)],
    }[kind]());
    part("of-contrast").replaceChildren();
    if (kind !== "contrast") return;
    contrastFields(given.contrast_function ?? {});
    part("contrast").addEventListener("input", () => contrastFields({}));
  };
  choose(part("decoder"), named(Object.keys(about.decoders)), decoder.method ?? "greedy");
  decoderFields(decoder);
  part("reads").value = exits.contrast_layer_indices ? "contrast" : exits.output_layer_index ? "exit" : "original";
  exitFields(exits);
  part("decoder").oninput = () => decoderFields({});
  part("reads").oninput = () => exitFields({});
};

/** The setting that the fields of a column state, without what is the default. */
export const read = (column, about) => {
  const part = (name) => column.querySelector(`.${name}`), method = part("decoder").value;
  const decoder = { method, ...entered(part("of-decoder"), about.decoders[method]) };
  const layer = (name) => {
    const { value } = part(name);
    return value === "original" ? value : value === "" ? null : Number(value);
  };
  if (part("reads").value === "exit") return { decoder, exits: { output_layer_index: layer("exit") } };
  if (part("reads").value === "original") return { decoder, exits: {} };
  const name = part("contrast").value, { takesLower, parameters } = about.contrasts[name];
  return { decoder, exits: {
    contrast_layer_indices: [layer("upper"), takesLower ? layer("lower") : null],
    contrast_function: { name, ...entered(part("of-contrast"), parameters) },
  } };
};

/** A setting in a line. */
export const inWords = ({ decoder: { method, ...ofDecoder }, exits }) => {
  const listed = (parameters) => Object.entries(parameters).map(([name, value]) => `, ${words(name)} ${value}`).join("");
  const layer = (it) => (it === "original" ? "the last layer" : `layer ${it}`);
  let reads = "the last layer";
  if (exits.output_layer_index) reads = `exit at layer ${exits.output_layer_index}`;
  if (exits.contrast_layer_indices) {
    const [upper, lower] = exits.contrast_layer_indices, { name, ...parameters } = exits.contrast_function;
    reads = `${name} on ${layer(upper)}${lower ? ` against layer ${lower}` : ""}${listed(parameters)}`;
  }
  return `${method}${listed(ofDecoder)} · ${reads}`;
};

/** A short name of a setting. */
export const shortName = ({ decoder, exits }) => [
  decoder.method, exits.output_layer_index && `exit${exits.output_layer_index}`,
  exits.contrast_function && `${exits.contrast_function.name}${exits.contrast_layer_indices[1] ?? ""}`,
].filter(Boolean).join("-");
