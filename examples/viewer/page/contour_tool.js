// Contour points: the outline of a label in one slice as polygons whose points are dragged.

import {distance_to_segment, drag_point, rasterize, refine, simplify, trace} from "./contour.js";
import {redraw, state} from "./state.js";

const kNear = 9;            // pixels between the pointer and what it takes hold of
const kTolerance = 0.6;     // voxels that a point left out may lie beside the outline

/** Traces the outline again if slice, label or mask are not those it was traced from. */
export function refresh_contour(view) {
  const {number} = view.slice, step = state.editor.done.at(-1) ?? null, old = state.contour;
  if (old !== null && old.plane === view.key && old.number === number && old.label === state.label && old.step === step) return;
  const slice = view.slice;
  const polygons = trace(slice.inside(state.editor.labels, state.label), slice.width, slice.height);
  state.contour = {
    plane: view.key, number, label: state.label, step, grabbed: null,
    polygons: polygons.map((polygon) => simplify(polygon, kTolerance)),
  };
}

/** Takes hold of the point near the pointer, or of a new one on the line near it. */
export function grab(view, at, {remove}) {
  refresh_contour(view);
  const contour = state.contour;
  const {scale_u, scale_v} = view.layout();
  const pixels = (p) => ({u: p.u * scale_u, v: p.v * scale_v});
  const pointer = pixels(at);
  let best = {distance: kNear};
  contour.polygons.forEach((polygon, which) => polygon.forEach((point, index) => {
    const a = pixels(point), b = pixels(polygon[(index + 1) % polygon.length]);
    const to_point = Math.hypot(a.u - pointer.u, a.v - pointer.v);
    const to_line = distance_to_segment(pointer, a, b) + kNear / 3;   // a point wins over the line beside it
    if (to_point < best.distance) best = {distance: to_point, which, index, on_line: false};
    if (to_line < best.distance) best = {distance: to_line, which, index: index + 1, on_line: true};
  }));
  if (best.which === undefined) return;
  contour.before = [...contour.polygons];
  const polygon = [...contour.polygons[best.which]];
  if (best.on_line) polygon.splice(best.index, 0, at);
  contour.polygons[best.which] = polygon;
  if (remove) {
    if (!best.on_line && polygon.length > 3) polygon.splice(best.index, 1);
    return release(view);
  }
  // While it is dragged the outline has many points, so that it bends; the one in hand is the first.
  const {spacing_u, spacing_v} = view.slice, step_mm = state.size_mm / 5;
  const turned = [...polygon.slice(best.index), ...polygon.slice(0, best.index)];
  contour.drag = {which: best.which, start: at, polygon: refine(turned, {step_mm, spacing_u, spacing_v})};
  contour.grabbed = at;
  redraw();
}

export function drag(view, at) {
  const contour = state.contour;
  if (!contour?.drag) return;
  const {which, start, polygon} = contour.drag;
  const {spacing_u, spacing_v} = view.slice;
  contour.polygons[which] = drag_point(polygon,
    {du: at.u - start.u, dv: at.v - start.v, reach_mm: state.size_mm, spacing_u, spacing_v});
  contour.grabbed = contour.polygons[which][0];
  redraw();
}

/**
 * The mask follows the outline where it was moved, and only there: voxels at which the old and the new polygons differ, and
 * their neighbours, for the old polygon was simplified and may have missed the mask's border by a voxel.
 */
export function release(view) {
  const contour = state.contour;
  if (!contour?.before) return;
  const slice = view.slice, {editor, label} = state;
  const old = rasterize(contour.before, slice.width, slice.height);
  const now = rasterize(contour.polygons, slice.width, slice.height);
  const follow = (u, v) => {
    if (!slice.contains(u, v)) return;
    const inside = now[u + v * slice.width], index = slice.index(u, v), here = editor.labels[index];
    if (inside && (here === 0 || !state.keep_others)) editor.set(index, label);
    if (!inside && here === label) editor.set(index, 0);
  };
  editor.begin({label, axis: view.plane.n, slice: slice.number});
  now.forEach((inside, i) => {
    if (inside === old[i]) return;
    const u = i % slice.width, v = Math.floor(i / slice.width);
    for (const dv of [-1, 0, 1]) for (const du of [-1, 0, 1]) follow(u + du, v + dv);
  });
  editor.end();
  contour.polygons = contour.polygons.map((polygon) => polygon.length > 4 ? simplify(polygon, kTolerance) : polygon);
  contour.step = editor.done.at(-1) ?? null;
  contour.before = contour.drag = contour.grabbed = null;
  redraw();
}
