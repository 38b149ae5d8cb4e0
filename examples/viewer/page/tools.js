// What pointer, wheel and keys do on a plane.

import * as contour from "./contour_tool.js";
import {fill, paint_disc, paint_line} from "./paint.js";
import {fit_views, go_to, redraw, state} from "./state.js";

/** Each tool: what happens when the pointer goes down, moves while down, and comes up. `from` is where it was before. */
const kTools = {
  navigate: {
    down: (view, {at}) => go_to(view.to_scan(at)),
    move: (view, {at}) => go_to(view.to_scan(at)),
  },
  window: {move: drag_window},
  pan: {move: drag_view},
  brush: {
    down: (view, {at}) => start_stroke(view, at, state.label),
    move: (view, {at, from}) => stroke(view, {from, to: at, label: state.label}),
    up: end_stroke,
  },
  erase: {
    down: (view, {at}) => start_stroke(view, at, 0),
    move: (view, {at, from}) => stroke(view, {from, to: at, label: 0}),
    up: end_stroke,
  },
  fill: {down: (view, {at}) => fill_at(view, at)},
  contour: {
    down: (view, {at, event}) => contour.grab(view, at, {remove: event.shiftKey}),
    move: (view, {at}) => contour.drag(view, at),
    up: (view) => contour.release(view),
  },
};

let say = () => {};   // shows a line to the user

function drag_window(view, {pixels}) {
  const per_pixel = Math.max(1, state.width / 300);
  state.width = Math.max(1, Math.round(state.width + pixels.x * per_pixel));
  state.level = Math.round(state.level + pixels.y * per_pixel);
  redraw();
}

function drag_view(view, {pixels}) {
  const {scale_u, scale_v} = view.layout();
  state.center[view.plane.u] -= pixels.x / scale_u;
  state.center[view.plane.v] -= pixels.y / scale_v;
  redraw();
}

function start_stroke(view, at, label) {
  state.editor.begin({label: state.label, axis: view.plane.n, slice: view.slice.number});
  paint_disc(state.editor, view.slice, {...at, ...brush(label)});
  redraw();
}

function stroke(view, {from, to, label}) {
  if (state.editor.open === null) return;
  paint_line(state.editor, view.slice, {from, to, ...brush(label)});
  redraw();
}

function end_stroke() {
  state.editor.end();
  redraw();
}

/** The eraser (label 0) takes away the chosen label only. */
function brush(label) {
  const may = label === 0 ? (old) => old === state.label : (old) => old === 0 || !state.keep_others;
  return {radius_mm: state.size_mm, label, may};
}

function fill_at(view, at) {
  const u = Math.floor(at.u), v = Math.floor(at.v);
  if (!view.slice.contains(u, v)) return;
  state.editor.begin({label: state.label, axis: view.plane.n, slice: view.slice.number});
  const enclosed = fill(state.editor, view.slice, {u, v, label: state.label});
  if (!enclosed) say("Not filled: this area is open, it reaches the border of the slice.");
  end_stroke();
}

/** Moves the crosshair by `by` voxels along an axis. */
function step(axis, by) {
  const cross = [...state.cross];
  cross[axis] += by;
  go_to(cross);
}

/** Zooms and leaves the place under {u, v} where it is on the screen. */
function zoom(view, factor, at) {
  const old = state.zoom;
  state.zoom = Math.min(40, Math.max(1, old * factor));
  const stay = old / state.zoom;
  for (const [axis, place] of [[view.plane.u, at.u], [view.plane.v, at.v]]) {
    state.center[axis] = place + (state.center[axis] - place) * stay;
  }
  if (state.zoom === 1) fit_views();
  redraw();
}

/** Pointer, wheel and keys of one plane. */
export function attach_tools(view, show_line) {
  say = show_line;
  const {canvas} = view;
  let tool = null, last = null, wheel = 0;
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (state.voxels === null) return;
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    tool = kTools[event.button === 1 ? "pan" : event.button === 2 ? "window" : state.tool];
    last = {at: view.at(event), x: event.clientX, y: event.clientY};
    tool.down?.(view, {at: last.at, event});
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (state.voxels === null) return;
    const at = view.at(event);
    state.pointer = at;
    if (tool !== null) {
      tool.move?.(view, {at, from: last.at, pixels: {x: event.clientX - last.x, y: event.clientY - last.y}});
      last = {at: view.at(event), x: event.clientX, y: event.clientY};
    } else if (document.activeElement === document.body || document.activeElement.matches("#views canvas")) {
      canvas.focus();   // keys go to the plane under the pointer, unless somebody is at a slider or in a list
    } else {
      state.active = view.key;
    }
    redraw();
  });
  const up = () => {
    tool?.up?.(view);
    tool = null;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => {
    state.pointer = null;
    redraw();
  });
  canvas.addEventListener("focus", () => {
    state.active = view.key;
    redraw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (state.voxels === null) return;
    if (event.ctrlKey) return zoom(view, Math.exp(-event.deltaY / 300), view.at(event));
    wheel += event.deltaMode === 0 ? event.deltaY / 50 : event.deltaY;   // a trackpad sends many small steps
    if (Math.abs(wheel) < 1) return;
    step(view.plane.n, -Math.sign(wheel));
    wheel = 0;
  }, {passive: false});
  canvas.addEventListener("keydown", (event) => key(view, event));
}

/** Keys of a plane that has the focus. Arrows go as on the screen, so up is back where v runs down. */
function key(view, event) {
  if (state.voxels === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const {u, v, n, flip} = view.plane;
  const by = event.shiftKey ? 10 : 1, up = flip ? by : -by;
  const middle = {u: state.cross[u] + 0.5, v: state.cross[v] + 0.5};
  const actions = {
    ArrowLeft: () => step(u, -by), ArrowRight: () => step(u, by), ArrowUp: () => step(v, up), ArrowDown: () => step(v, -up),
    PageUp: () => step(n, by), PageDown: () => step(n, -by), Home: () => step(n, -Infinity), End: () => step(n, Infinity),
    "+": () => zoom(view, 1.25, middle), "=": () => zoom(view, 1.25, middle), "-": () => zoom(view, 0.8, middle),
    "0": fit_views, " ": () => use_at(view, middle),
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
}

/** The tool at the crosshair, for hands without a mouse. */
function use_at(view, at) {
  if (!["brush", "erase", "fill"].includes(state.tool)) return;
  kTools[state.tool].down(view, {at});
  kTools[state.tool].up?.(view);
}
