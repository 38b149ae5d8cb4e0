// What the page shows now. Whoever changes something here calls redraw(); whoever shows something asks to be told.

export const state = {
  info: null,         // of the server: version, device, threads
  scan: null,         // as the server describes it, and its voxels on a grid
  grid: null,
  voxels: null,
  mask: null,         // the version that was loaded (null: drawing from nothing), and its voxels being edited
  editor: null,
  labels: [],         // {id, name, color}
  labels_from: null,  // the model that they are of, while there is no mask that has them
  visible: new Uint8Array(256).fill(1),
  label: 1,           // the one that tools draw with
  cross: [0, 0, 0],   // the voxel that all planes go through
  center: [0, 0, 0],  // what is in the middle of the views, in voxels from the edge
  zoom: 1,            // 1: the whole slice fits
  level: 40,          // HU in mid-grey, and HU from black to white
  width: 400,
  opacity: 0.4,
  outlines: true,
  tool: "navigate",
  size_mm: 10,        // radius of the brush; reach of a contour point that is dragged
  keep_others: true,  // the brush leaves other labels alone
  active: "axial",    // the plane that keys go to
  pointer: null,      // {u, v} in the active plane, for the brush's circle
  contour: null,      // outlines with points to drag (contour_tool.js)
};

const listeners = [];
let waiting = false;

export function on_redraw(listener) {
  listeners.push(listener);
}

/** Everything is drawn again before the next frame, once, however often this is called. */
export function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const listener of listeners) listener();
  });
}

/** Moves the crosshair, and the other planes with it, to the nearest voxel of the scan. */
export function go_to(voxel) {
  if (state.grid === null) return;
  state.cross = state.grid.clamp(voxel);
  redraw();
}

/** Puts the whole scan into view. */
export function fit_views() {
  state.zoom = 1;
  state.center = state.grid.size.map((n) => n / 2);
  redraw();
}

export function label_of(id) {
  return state.labels.find((label) => label.id === id) ?? {id, name: id === 0 ? "background" : `label ${id}`, color: "#ffffff"};
}
