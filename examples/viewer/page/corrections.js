// What is done with a corrected mask: slices in between, a new version, files to take away.

import * as api from "./api.js";
import {remember} from "./cases.js";
import {Slice, kPlanes} from "./volume.js";
import {label_of, redraw, state} from "./state.js";

/**
 * Fills in the chosen label between the slices of the active plane that were drawn on. The server blends the shapes.
 * Returns a line that says what happened.
 */
export async function interpolate() {
  const {grid, editor, label} = state, key = state.active, plane = kPlanes[key];
  const numbers = editor.edited_slices(plane.n, label);
  const shown = numbers.map((n) => n + 1).join(", ");   // people count from 1
  if (numbers.length < 2) return `Draw on at least two ${key} slices first; so far: ${shown || "none"}.`;
  const area = grid.size[plane.u] * grid.size[plane.v];
  const inside = new Uint8Array(area * numbers.length);
  numbers.forEach((number, i) => inside.set(rows_of(new Slice(grid, plane, number), editor.labels, label), i * area));
  const between = await api.interpolate(state.scan.id, {plane: key, slices: numbers, inside});
  if (state.editor !== editor) return "Not interpolated: another mask was opened meanwhile.";
  editor.begin({label, axis: plane.n, interpolated: true});
  for (let number = numbers[0] + 1; number < numbers.at(-1); ++number) {
    if (numbers.includes(number)) continue;
    const rows = between.subarray((number - numbers[0]) * area, (number - numbers[0] + 1) * area);
    put_rows(new Slice(grid, plane, number), rows, {editor, label});   // another label may be chosen by now
  }
  const changed = editor.end();
  redraw();
  return changed ? `Interpolated ${label_of(label).name} between ${key} slices ${shown}.`
    : `Nothing changed between ${key} slices ${shown}: they are neighbours, or their outlines do not overlap.`;
}

/** A slice as the server lays it out: rows as on the screen, so from the head down where v runs up. */
function rows_of(slice, labels, label) {
  const inside = slice.inside(labels, label);
  return slice.plane.flip ? flipped(inside, slice.width) : inside;
}

function put_rows(slice, rows, {editor, label}) {
  (slice.plane.flip ? flipped(rows, slice.width) : rows).forEach((is, i) => {
    const index = slice.index(i % slice.width, Math.floor(i / slice.width)), here = editor.labels[index];
    if (is && (here === 0 || !state.keep_others)) editor.set(index, label);
    if (!is && here === label) editor.set(index, 0);
  });
}

function flipped(rows, width) {
  const result = new Uint8Array(rows.length);
  for (let at = 0; at < rows.length; at += width) result.set(rows.subarray(at, at + width), rows.length - width - at);
  return result;
}

/** Stores the mask as a new version beside the one it was drawn from; the answer has volumes and Dice by the server. */
export async function save(note) {
  const {editor, scan, mask, labels_from: model} = state;
  editor.end();
  const newest = editor.done.at(-1) ?? null;   // what is drawn while the server works is not saved yet
  const saved = await api.save_mask(scan.id, editor.labels, {parent: mask?.id ?? null, note: note || null, model});
  editor.saved_at = newest;
  if (state.editor !== editor) return saved;   // another mask was opened meanwhile: that one stays what it is
  state.mask = saved;
  remember();
  const described = await api.scan(scan.id);
  if (state.scan === scan) state.scan = described;
  redraw();
  return saved;
}

/** Downloads a file made from the stored mask: `type` is one of index.html's choices. */
export async function download(type) {
  const {mask, label, scan} = state;
  const base = `${scan.name.replace(/\.(nii|gz|mha|mhd|dcm|zip)/g, "")}_v${mask.version}`;
  if (type === "overlay") {
    const {n} = kPlanes[state.active], index = state.cross[n];
    const view = {plane: state.active, index, low: state.level - state.width / 2, high: state.level + state.width / 2,
                  opacity: state.opacity};
    await api.download(api.overlay_path(mask.id, view), `${base}_${state.active}_${index + 1}.png`);
  } else {
    const of_label = type === "stl" || type === "ply";
    const name = of_label ? `${base}_${label_of(label).name.replace(/\W+/g, "_")}.${type}` : `${base}.${type}`;
    await api.download(api.file_path(mask.id, type, of_label ? label : null), name);
  }
}
