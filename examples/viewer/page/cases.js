// Scans, masks and models: opening, uploading, segmenting. Everything that waits for the server to bring something.

import * as api from "./api.js";
import {MaskEditor} from "./editor.js";
import {fit_views, redraw, state} from "./state.js";
import {Grid} from "./volume.js";

const kColors = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];   // Okabe and Ito

/** Labels to draw with on a scan that has no mask: the chosen model's, or one. */
function labels_of(model) {
  return model?.labels?.length > 0 ? model.labels : [{id: 1, name: "label 1", color: kColors[0]}];
}

/** Loads a scan and one of its masks (the newest one if none is named). */
export async function open_scan(id, {mask_id = null, model = null} = {}) {
  const scan = await api.scan(id);
  const grid = new Grid(scan.shape, scan.spacing_mm);
  const voxels = await api.scan_voxels(id);
  if (voxels.length !== grid.count) throw new Error(`The server sent ${voxels.length} voxels, and the scan has ${grid.count}.`);
  Object.assign(state, {scan, grid, voxels: null, mask: null, editor: null, contour: null});
  state.cross = grid.size.map((n) => Math.floor(n / 2));
  await open_mask(mask_id ?? scan.masks.at(-1)?.id ?? null, model);
  state.voxels = voxels;
  fit_views();
  remember();
}

/** Loads a version of the mask, and the one it goes back to (the model's), for Dice. Null: an empty mask to draw in. */
export async function open_mask(id, model = null) {
  const {grid} = state;
  if (id === null) {
    state.mask = null;
    state.labels = labels_of(model);
    state.editor = new MaskEditor(grid, new Uint8Array(grid.count), null);
  } else {
    const mask = await api.mask(id);
    const voxels = await api.mask_voxels(id);
    let first = mask;
    while (first.parent !== null) first = await api.mask(first.parent);
    const reference = first === mask ? voxels.slice() : await api.mask_voxels(first.id);
    state.mask = mask;
    state.labels = mask.labels.length > 0 ? mask.labels : labels_of(model);
    state.editor = new MaskEditor(grid, voxels, reference);
  }
  state.contour = null;
  if (!state.labels.some(({id: label}) => label === state.label)) state.label = state.labels[0].id;
  remember();
  redraw();
}

/** What to open again after a reload, in this tab. */
function remember() {
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
