// Scans, masks and models: opening, uploading, segmenting. Everything that waits for the server to bring something.

import * as api from "./api.js";
import {MaskEditor} from "./editor.js";
import {fit_views, redraw, state} from "./state.js";
import {Grid} from "./volume.js";

/** Labels to draw with on a scan that has no mask: the chosen model's, or one. */
function labels_of(model) {
  return model?.labels?.length > 0 ? model.labels : [{id: 1, name: "label 1", color: "#e69f00"}];
}

let asked = 0;   // how often something was opened

/**
 * Shows what `load` brings, unless something else was asked for meanwhile (then the answer is false): a mask must never get
 * onto another scan. What was drawn while it came is not thrown away.
 */
async function show_latest(load) {
  const mine = ++asked, step = state.editor?.done.at(-1);
  const loaded = await load();
  if (mine !== asked) return false;
  state.editor?.end();   // of a stroke under the pointer
  if (state.editor?.done.at(-1) !== step) throw new Error("Nothing was opened, for you drew meanwhile. Choose it again.");
  show(loaded);
  return true;
}

/** Loads a scan and one of its masks (the newest one if none is named). Nothing on the page changes before all is there. */
export async function open_scan(id, {mask_id = null, model = null} = {}) {
  const shown = await show_latest(async () => {
    const scan = await api.scan(id);
    const grid = new Grid(scan.shape, scan.spacing_mm, scan.lps), {count} = grid;
    const voxels = await api.scan_voxels(id);
    if (voxels.length !== count) throw new Error(`The server sent ${voxels.length} voxels, and the scan has ${count}.`);
    const loaded = await load_mask({id: mask_id ?? scan.masks.at(-1)?.id ?? null, scan, grid, model});
    return {...loaded, scan, grid, voxels, cross: grid.size.map((n) => Math.floor(n / 2))};
  });
  if (shown) fit_views();
  return shown;
}

/** Loads another version of the mask. */
export const open_mask = (id) => show_latest(() => load_mask({id, scan: state.scan, grid: state.grid, model: null}));

/** A mask's voxels. Those of another scan must never lie over this one, whoever asked for them. */
async function voxels_of(mask, scan, grid) {
  if (mask.scan !== scan.id) throw new Error(`Mask ${mask.id} is of another scan than ${scan.name}. Choose one from the list.`);
  const voxels = await api.mask_voxels(mask.id);
  if (voxels.length !== grid.count) throw new Error(`Mask ${mask.id} has ${voxels.length} voxels, and the scan ${grid.count}.`);
  return voxels;
}

/** A mask and the one it goes back to, for Dice: the model's or one that was given. Null: an empty mask to draw in. */
async function load_mask({id, scan, grid, model}) {
  if (id === null) {
    const editor = new MaskEditor(grid, new Uint8Array(grid.count), null);
    return {mask: null, labels: labels_of(model), labels_from: model?.id ?? null, editor};
  }
  const mask = await api.mask(id);
  const voxels = await voxels_of(mask, scan, grid);
  let first = mask;
  while (first.parent !== null) first = await api.mask(first.parent);
  const reference = first.kind === "edited" ? null   // somebody's own first drawing says nothing about later ones
    : first === mask ? voxels.slice() : await voxels_of(first, scan, grid);
  const labels = mask.labels.length > 0 ? mask.labels : labels_of(model);
  return {mask, labels, labels_from: null, editor: new MaskEditor(grid, voxels, reference)};
}

function show(loaded) {
  Object.assign(state, loaded, {contour: null});
  if (!state.labels.some(({id}) => id === state.label)) state.label = state.labels[0].id;
  remember();
  redraw();
}

/** What to open again after a reload, in this tab. */
export function remember() {
  sessionStorage.setItem("open", JSON.stringify({scan: state.scan.id, mask: state.mask?.id ?? null}));
}

export function remembered() {
  return JSON.parse(sessionStorage.getItem("open") ?? "null");
}

/** Runs a model on the open scan. `on_progress(job)` is told how far it is; the answer is the finished job. */
export async function run_model(model_id, on_progress) {
  let job = await api.start_job(state.scan.id, model_id);
  while (job.state === "queued" || job.state === "running") {
    on_progress(job);
    await new Promise((resolve) => setTimeout(resolve, 300));
    job = await api.job(job.id);
  }
  if (job.state === "failed") throw new Error(job.error);
  return job;
}
