// What the tools do to a slice: brush, eraser, fill. Each works inside an open step of a MaskEditor.

/**
 * Sets voxels of `slice` whose centre is within `radius_mm` of (u, v), which counts in voxels with 0 at the first one's edge.
 * `may(old label)` says which voxels may change. Millimetres, so that the disc is round in a plane with flat voxels too.
 */
export function paint_disc(editor, slice, {u, v, radius_mm, label, may}) {
  const reach_u = radius_mm / slice.spacing_u, reach_v = radius_mm / slice.spacing_v;
  const paint = (i, j) => {
    if (!slice.contains(i, j)) return;
    const index = slice.index(i, j);
    if (may(editor.labels[index])) editor.set(index, label);
  };
  for (let j = Math.floor(v - reach_v); j <= v + reach_v; ++j) {
    for (let i = Math.floor(u - reach_u); i <= u + reach_u; ++i) {
      if (((i + 0.5 - u) / reach_u) ** 2 + ((j + 0.5 - v) / reach_v) ** 2 <= 1) paint(i, j);
    }
  }
  paint(Math.floor(u), Math.floor(v));   // a brush smaller than a voxel paints that voxel
}

/** Discs along a line, so close that a quick stroke has no gaps. */
export function paint_line(editor, slice, {from, to, ...brush}) {
  const step_mm = Math.max(brush.radius_mm / 2, Math.min(slice.spacing_u, slice.spacing_v) / 2);
  const length_mm = Math.hypot((to.u - from.u) * slice.spacing_u, (to.v - from.v) * slice.spacing_v);
  const steps = Math.max(1, Math.ceil(length_mm / step_mm));
  for (let i = 0; i <= steps; ++i) {
    const t = i / steps;
    paint_disc(editor, slice, {...brush, u: from.u + t * (to.u - from.u), v: from.v + t * (to.v - from.v)});
  }
}

/**
 * Gives `label` to the area around (u, v) that has one label now and hangs together by edges.
 * An area of background that reaches the border is not enclosed by anything; it is left alone and the answer is false.
 */
export function fill(editor, slice, {u, v, label}) {
  const old = editor.labels[slice.index(u, v)];
  if (old === label) return true;
  const seen = new Uint8Array(slice.width * slice.height);
  const area = [];
  const todo = [u + v * slice.width];
  seen[todo[0]] = 1;
  while (todo.length > 0) {
    const at = todo.pop();
    const i = at % slice.width, j = (at - i) / slice.width;
    area.push(slice.index(i, j));
    for (const [x, y] of [[i - 1, j], [i + 1, j], [i, j - 1], [i, j + 1]]) {
      if (!slice.contains(x, y)) {
        if (old === 0) return false;
        continue;
      }
      const next = x + y * slice.width;
      if (seen[next] || editor.labels[slice.index(x, y)] !== old) continue;
      seen[next] = 1;
      todo.push(next);
    }
  }
  for (const index of area) editor.set(index, label);
  return true;
}
