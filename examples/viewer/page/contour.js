// From the voxels of a slice to polygons with a few points that can be dragged, and back.
//
// Points are {u, v} in voxels, 0 at the edge of the first one. The outline goes through the middles of voxel edges: a polygon
// through them has every voxel's centre on the right side, and stairs come out as slopes.

/** The outlines of `inside` (one byte a voxel): closed polygons, outer ones and those of holes. */
export function trace(inside, width, height) {
  const is = (u, v) => u >= 0 && u < width && v >= 0 && v < height && inside[u + v * width];
  // The edges between inside and outside, walked with the inside on the right: from each corner, the directions that lead on.
  const kDirections = [[1, 0], [0, 1], [-1, 0], [0, -1]];
  const leaving = new Map();
  const add = (u, v, direction) => {
    const key = u + v * (width + 1);
    leaving.set(key, [...(leaving.get(key) ?? []), direction]);
  };
  for (let v = 0; v < height; ++v) {
    for (let u = 0; u < width; ++u) {
      if (!is(u, v)) continue;
      if (!is(u, v - 1)) add(u, v, 0);
      if (!is(u + 1, v)) add(u + 1, v, 1);
      if (!is(u, v + 1)) add(u + 1, v + 1, 2);
      if (!is(u - 1, v)) add(u, v + 1, 3);
    }
  }
  const polygons = [];
  for (const [start, first] of leaving) {
    while (first.length > 0) {
      const polygon = [];
      let key = start, direction = first[0];
      do {
        const ways = leaving.get(key);
        // Two ways on where two voxels touch at a corner: turn right, which keeps them apart.
        const way = ways.length > 1 ? (direction + 1) % 4 : ways[0];
        direction = ways.splice(Math.max(0, ways.indexOf(way)), 1)[0];
        const u = key % (width + 1), v = (key - u) / (width + 1);
        const [du, dv] = kDirections[direction];
        polygon.push({u: u + du / 2, v: v + dv / 2});
        key = u + du + (v + dv) * (width + 1);
      } while (key !== start);
      polygons.push(polygon);
    }
  }
  return polygons;
}

/** The points of a closed polygon that matter: no point left out was farther than `tolerance` away (Douglas and Peucker). */
export function simplify(polygon, tolerance) {
  if (polygon.length < 5) return polygon;
  const far = farthest(polygon, (p) => Math.hypot(p.u - polygon[0].u, p.v - polygon[0].v)).index;
  const first = simplify_line(polygon.slice(0, far + 1), tolerance);
  const second = simplify_line([...polygon.slice(far), polygon[0]], tolerance);
  return [...first.slice(0, -1), ...second.slice(0, -1)];
}

function simplify_line(line, tolerance) {
  const {index, value} = farthest(line, (p) => distance_to_segment(p, line[0], line.at(-1)));
  if (value <= tolerance) return [line[0], line.at(-1)];
  return [...simplify_line(line.slice(0, index + 1), tolerance).slice(0, -1), ...simplify_line(line.slice(index), tolerance)];
}

function farthest(points, distance) {
  let index = 0, value = 0;
  points.forEach((point, i) => {
    const d = distance(point);
    if (d > value) [index, value] = [i, d];
  });
  return {index, value};
}

export function distance_to_segment(p, a, b) {
  const du = b.u - a.u, dv = b.v - a.v;
  const length2 = du * du + dv * dv;
  const t = length2 === 0 ? 0 : Math.min(1, Math.max(0, ((p.u - a.u) * du + (p.v - a.v) * dv) / length2));
  return Math.hypot(p.u - a.u - t * du, p.v - a.v - t * dv);
}

/** The voxels whose centres lie in an odd number of the polygons, so that holes stay holes. */
export function rasterize(polygons, width, height) {
  const inside = new Uint8Array(width * height);
  for (let row = 0; row < height; ++row) {
    const v = row + 0.5;
    const crossings = [];
    for (const polygon of polygons) {
      polygon.forEach((a, i) => {
        const b = polygon[(i + 1) % polygon.length];
        if ((a.v <= v) !== (b.v <= v)) crossings.push(a.u + (v - a.v) / (b.v - a.v) * (b.u - a.u));
      });
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i] - 0.5)), to = Math.min(width - 1, Math.ceil(crossings[i + 1] - 0.5) - 1);
      if (from <= to) inside.fill(1, row * width + from, row * width + to + 1);
    }
  }
  return inside;
}

/** The same outline with points at most `step_mm` apart. The first one stays the first. */
export function refine(polygon, {step_mm, spacing_u, spacing_v}) {
  return polygon.flatMap((a, i) => {
    const b = polygon[(i + 1) % polygon.length];
    const parts = Math.ceil(Math.hypot((b.u - a.u) * spacing_u, (b.v - a.v) * spacing_v) / step_mm) || 1;
    return Array.from({length: parts}, (_, k) => ({u: a.u + k / parts * (b.u - a.u), v: a.v + k / parts * (b.v - a.v)}));
  });
}

/**
 * Moves the first point of `polygon` by (du, dv) and lets its neighbours follow: fully near it, not at all `reach_mm` away
 * along the outline. Returns a new polygon.
 */
export function drag_point(polygon, {du, dv, reach_mm, spacing_u, spacing_v}) {
  const result = polygon.map((point) => ({...point}));
  const move = (i, weight) => {
    result[i].u = polygon[i].u + weight * du;
    result[i].v = polygon[i].v + weight * dv;
  };
  move(0, 1);
  for (const direction of [1, -1]) {
    let way = 0, at = 0;
    for (let n = 1; n <= (polygon.length - 1) / 2; ++n) {
      const next = (at + direction + polygon.length) % polygon.length;
      way += Math.hypot((polygon[next].u - polygon[at].u) * spacing_u, (polygon[next].v - polygon[at].v) * spacing_v);
      if (way >= reach_mm) break;
      move(next, 0.5 + 0.5 * Math.cos(Math.PI * way / reach_mm));
      at = next;
    }
  }
  return result;
}
