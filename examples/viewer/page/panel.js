// The panel on the left: window, labels, tools. It writes to the state and shows what is in it.

import {go_to, redraw, state} from "./state.js";

export const kPresets = [
  {name: "Soft tissue", level: 40, width: 400},
  {name: "Lung", level: -600, width: 1500},
  {name: "Bone", level: 400, width: 1800},
  {name: "Liver", level: 30, width: 150},
  {name: "Mediastinum", level: 50, width: 350},
  {name: "Brain", level: 40, width: 80},
  {name: "Vessels (contrast)", level: 300, width: 600},
  {name: "Whole range", level: null, width: null},
];

export const element = (id) => document.getElementById(id);

/** An <option> for each of `items` = [{value, text}]. */
export function fill_select(select, items, chosen) {
  select.replaceChildren(...items.map(({value, text}) => new Option(text, value)));
  if (chosen !== undefined && chosen !== null) select.value = chosen;
}

export function use_preset(number) {
  const {level, width} = kPresets[number];
  const {hu_min, hu_max} = state.scan ?? {hu_min: -1024, hu_max: 1024};
  state.level = level ?? Math.round((hu_min + hu_max) / 2);
  state.width = width ?? Math.max(1, Math.round(hu_max - hu_min));
  redraw();
}

export function choose_tool(name) {
  state.tool = name;
  document.querySelector(`input[name=tool][value=${name}]`).checked = true;
  state.contour = null;
  redraw();
}

export function change_size(factor) {
  state.size_mm = Math.min(50, Math.max(0.5, Math.round(state.size_mm * factor * 2) / 2));
  redraw();
}

export function attach_panel() {
  const presets = kPresets.map(({name}, i) => ({value: i, text: `${name} (${i + 1})`}));
  fill_select(element("preset"), [{value: "", text: "by hand"}, ...presets]);
  const on = (id, event, action) => element(id).addEventListener(event, (e) => {
    action(e.target);
    redraw();
  });
  on("preset", "change", ({value}) => { if (value !== "") use_preset(Number(value)); });
  on("level", "input", ({value}) => { state.level = Number(value); });
  on("width", "input", ({value}) => { state.width = Math.max(1, Number(value)); });
  on("opacity", "input", ({value}) => { state.opacity = value / 100; });
  on("outlines", "change", ({checked}) => { state.outlines = checked; });
  on("only_present", "change", () => {});
  on("size", "input", ({value}) => { state.size_mm = Number(value); });
  on("keep_others", "change", ({checked}) => { state.keep_others = checked; });
  element("tools").addEventListener("change", ({target}) => { if (target.name === "tool") choose_tool(target.value); });
}

/** Shows the state in the panel. */
export function show_panel() {
  const set = (id, value) => { if (document.activeElement !== element(id)) element(id).value = value; };
  set("level", state.level);
  set("width", state.width);
  const preset = kPresets.findIndex(({level, width}) => level === state.level && width === state.width);
  element("preset").value = preset < 0 ? "" : preset;
  element("opacity").value = Math.round(state.opacity * 100);
  element("opacity_value").value = `${Math.round(state.opacity * 100)} %`;
  element("outlines").checked = state.outlines;
  element("size").value = state.size_mm;
  element("size_value").value = `${state.size_mm} mm`;
  element("undo").disabled = !state.editor?.done.length;
  element("redo").disabled = !state.editor?.undone.length;
  show_labels();
}

let shown = null;   // the labels that the rows were made for

function show_labels() {
  const body = element("labels");
  if (shown !== state.labels) {
    shown = state.labels;
    body.replaceChildren(...state.labels.map(label_row));
  }
  if (state.editor === null) return;
  state.labels.forEach((label, i) => {
    const row = body.rows[i], dice = state.editor.dice(label.id);
    row.classList.toggle("chosen", label.id === state.label);
    row.hidden = element("only_present").checked && state.editor.voxels[label.id] === 0 && label.id !== state.label;
    row.cells[0].firstChild.checked = state.visible[label.id] === 1;
    row.querySelector("input[type=radio]").checked = label.id === state.label;
    const volume_ml = state.editor.volume_ml(label.id);
    row.cells[2].textContent = volume_ml.toFixed(volume_ml < 100 ? 2 : 1);
    row.cells[3].textContent = dice === null ? "" : dice.toFixed(4);
  });
}

/** Moves the crosshair to the middle of a label, as it was when the mask was loaded. */
export function go_to_label({centroid}) {
  if (centroid) go_to(centroid.map((v) => v + 0.5));
}

/** Visible or not; name, with a radio button that chooses it for the tools; volume; Dice. */
function label_row(label) {
  const row = document.createElement("tr");
  const show = Object.assign(document.createElement("input"), {type: "checkbox", checked: true});
  show.setAttribute("aria-label", `Show ${label.name}`);
  show.addEventListener("change", () => {
    state.visible[label.id] = show.checked ? 1 : 0;
    redraw();
  });
  const choose = Object.assign(document.createElement("input"), {type: "radio", name: "label", value: label.id});
  choose.addEventListener("change", () => {
    state.label = label.id;
    redraw();
  });
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = label.color;
  const name = document.createElement("label");
  name.title = `${label.name}; double click, or G where it is chosen: go there`;
  name.addEventListener("dblclick", () => go_to_label(label));
  name.append(choose, swatch, label.name);
  row.insertCell().append(show);
  row.insertCell().append(name);
  for (let i = 0; i < 2; ++i) row.insertCell().className = "number";
  return row;
}
