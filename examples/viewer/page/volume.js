// Voxels in memory, and the three planes through them.
//
// The server sends every volume turned: x grows to the patient's left, y to the back, z to the head ("LPS"), x fastest.
// So nothing here has to ask how the scan was stored, and the letters at the edges of a plane are always the same.

/** The grid of a scan: sizes, millimetres and steps in memory, each as [x, y, z]. */
export class Grid {
  /** `lps`: the affine of voxels to millimetres, row by row. */
  constructor(shape, spacing_mm, lps) {
    this.size = shape;
    this.spacing = spacing_mm;
    this.step = [1, this.size[0], this.size[0] * this.size[1]];
    this.count = this.size[0] * this.size[1] * this.size[2];
    const [[a, b, c], [d, e, f], [g, h, i]] = lps;   // a tilted gantry makes voxels smaller than their edges multiplied
    this.voxel_ml = Math.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) / 1000;
  }

  index(voxel) {
    return voxel[0] + voxel[1] * this.step[1] + voxel[2] * this.step[2];
  }

  contains(voxel) {
    return voxel.every((v, axis) => v >= 0 && v < this.size[axis]);
  }

  /** The nearest voxel of the grid. */
  clamp(voxel) {
    return voxel.map((v, axis) => Math.min(this.size[axis] - 1, Math.max(0, Math.floor(v))));
  }
}

// u runs to the right on the screen, v runs down (up where `flip` says so), n is the axis that the slices are counted along.
// Radiologists look from the feet and from the front: the patient's right is on the left of the screen.
export const kPlanes = {
  axial: {name: "Axial", u: 0, v: 1, n: 2, flip: false, letters: {left: "R", right: "L", top: "A", bottom: "P"}},
  coronal: {name: "Coronal", u: 0, v: 2, n: 1, flip: true, letters: {left: "R", right: "L", top: "S", bottom: "I"}},
  sagittal: {name: "Sagittal", u: 1, v: 2, n: 0, flip: true, letters: {left: "A", right: "P", top: "S", bottom: "I"}},
};

/** One slice: its size in voxels and millimetres, and where its voxel (u, v) lies in memory. */
export class Slice {
  constructor(grid, plane, number) {
    this.plane = plane;
    this.number = number;
    this.width = grid.size[plane.u];
    this.height = grid.size[plane.v];
    this.spacing_u = grid.spacing[plane.u];
    this.spacing_v = grid.spacing[plane.v];
    this.start = number * grid.step[plane.n];
    this.step_u = grid.step[plane.u];
    this.step_v = grid.step[plane.v];
  }

  index(u, v) {
    return this.start + u * this.step_u + v * this.step_v;
  }

  contains(u, v) {
    return u >= 0 && u < this.width && v >= 0 && v < this.height;
  }

  /** Where `label` is: one byte for each voxel of the slice, rows of u. */
  inside(labels, label) {
    const result = new Uint8Array(this.width * this.height);
    for (let v = 0, at = 0; v < this.height; ++v) {
      for (let u = 0, from = this.index(0, v); u < this.width; ++u, from += this.step_u) result[at++] = labels[from] === label;
    }
    return result;
  }
}
