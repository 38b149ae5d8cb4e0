// One plane on a canvas: grey values, mask, outlines, crosshair, letters; and where a pixel of the screen lies in the scan.

import {kPlanes, Slice} from "./volume.js";
import {label_of, state} from "./state.js";

export class PlaneView {
  constructor(key, canvas) {
    this.key = key;
    this.plane = kPlanes[key];
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.grey = document.createElement("canvas");   // one pixel a voxel; scaled when drawn
    this.colors = document.createElement("canvas");
  }

  get slice() {
    return new Slice(state.grid, this.plane, state.cross[this.plane.n]);
  }

  /** Pixels of the screen per voxel along u and v (v negative where it runs up), and where voxel edge 0, 0 is. */
  layout() {
    const {width, height} = this.canvas.getBoundingClientRect();
    const {u, v, flip} = this.plane;
    const {size, spacing} = state.grid;
    const per_mm = Math.min(width / (size[u] * spacing[u]), height / (size[v] * spacing[v])) * state.zoom;
    const scale_u = per_mm * spacing[u], scale_v = per_mm * spacing[v] * (flip ? -1 : 1);
    const left = width / 2 - state.center[u] * scale_u, top = height / 2 - state.center[v] * scale_v;
    return {scale_u, scale_v, left, top, width, height};
  }

  /** Where the pointer is: voxels from the edge, {u, v}. */
  at(event) {
    const {scale_u, scale_v, left, top} = this.layout();
    const box = this.canvas.getBoundingClientRect();
    return {u: (event.clientX - box.left - left) / scale_u, v: (event.clientY - box.top - top) / scale_v};
  }

  /** {u, v} of this slice as a place in the scan. */
  to_scan({u, v}) {
    const place = [...state.cross];
    place[this.plane.u] = u;
    place[this.plane.v] = v;
    return place;
  }

  draw() {
    const {canvas, context} = this;
    const {clientWidth, clientHeight} = canvas;
    const ratio = devicePixelRatio, width = Math.round(clientWidth * ratio), height = Math.round(clientHeight * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "black";
    context.fillRect(0, 0, clientWidth, clientHeight);
    if (state.voxels === null) return;
    const slice = this.slice, layout = this.layout();
    this.draw_voxels(slice, layout);
    if (state.outlines) this.draw_outlines(slice, layout);
    this.draw_crosshair(layout);
    if (state.active === this.key) {
      if (state.contour !== null && state.tool === "contour") this.draw_contour(state.contour, layout);
      if (state.pointer !== null && ["brush", "erase"].includes(state.tool)) this.draw_brush(layout);
    }
    this.draw_letters(layout);
    this.describe(slice);
  }

  draw_voxels(slice, layout) {
    const {voxels, editor} = state;
    for (const image of [this.grey, this.colors]) {
      if (image.width !== slice.width) image.width = slice.width;
      if (image.height !== slice.height) image.height = slice.height;
    }
    const grey = new ImageData(slice.width, slice.height), colors = new ImageData(slice.width, slice.height);
    const grey_pixels = new Uint32Array(grey.data.buffer), color_pixels = new Uint32Array(colors.data.buffer);
    const palette = this.palette();
    const low = state.level - state.width / 2, per_hu = 255 / state.width;
    for (let row = 0, at = 0; row < slice.height; ++row) {
      let from = slice.index(0, this.plane.flip ? slice.height - 1 - row : row);
      for (let u = 0; u < slice.width; ++u, ++at, from += slice.step_u) {
        const value = Math.max(0, Math.min(255, (voxels[from] - low) * per_hu)) | 0;
        grey_pixels[at] = 0xff000000 | value * 0x010101;
        color_pixels[at] = palette[editor.labels[from]];
      }
    }
    this.grey.getContext("2d").putImageData(grey, 0, 0);
    this.colors.getContext("2d").putImageData(colors, 0, 0);
    const {context} = this;
    const box = [layout.left, layout.top + Math.min(0, slice.height * layout.scale_v),
                 slice.width * layout.scale_u, slice.height * Math.abs(layout.scale_v)];
    context.imageSmoothingEnabled = true;
    context.drawImage(this.grey, ...box);
    context.imageSmoothingEnabled = false;   // voxels of the mask are what they are
    context.globalAlpha = state.opacity;
    context.drawImage(this.colors, ...box);
    context.globalAlpha = 1;
  }

  /** Pixels of each label as the canvas stores them (alpha, blue, green, red); 0 for what is hidden. */
  palette() {
    const palette = new Uint32Array(256);
    for (let id = 1; id < 256; ++id) {
      if (!state.visible[id]) continue;
      const rgb = parseInt(label_of(id).color.slice(1), 16);
      palette[id] = (0xff000000 | (rgb & 0xff) << 16 | rgb & 0xff00 | rgb >> 16) >>> 0;
    }
    return palette;
  }

  /** Lines along the edges of voxels where labels meet. */
  draw_outlines(slice, layout) {
    const {labels} = state.editor;
    const paths = new Map();
    const line = (id, u0, v0, u1, v1) => {
      if (id === 0 || !state.visible[id]) return;
      if (!paths.has(id)) paths.set(id, new Path2D());
      paths.get(id).moveTo(layout.left + u0 * layout.scale_u, layout.top + v0 * layout.scale_v);
      paths.get(id).lineTo(layout.left + u1 * layout.scale_u, layout.top + v1 * layout.scale_v);
    };
    for (let v = 0; v < slice.height; ++v) {
      let from = slice.index(0, v);
      for (let u = 0; u < slice.width; ++u, from += slice.step_u) {
        const here = labels[from];
        if (u + 1 < slice.width && labels[from + slice.step_u] !== here) {
          for (const id of [here, labels[from + slice.step_u]]) line(id, u + 1, v, u + 1, v + 1);
        }
        if (v + 1 < slice.height && labels[from + slice.step_v] !== here) {
          for (const id of [here, labels[from + slice.step_v]]) line(id, u, v + 1, u + 1, v + 1);
        }
      }
    }
    this.context.lineWidth = 1.5;
    for (const [id, path] of paths) {
      this.context.strokeStyle = label_of(id).color;
      this.context.stroke(path);
    }
  }

  draw_crosshair({left, top, scale_u, scale_v, width, height}) {
    const x = left + (state.cross[this.plane.u] + 0.5) * scale_u, y = top + (state.cross[this.plane.v] + 0.5) * scale_v;
    const gap = 12;   // the voxel itself stays in view
    const {context} = this;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.lineWidth = 1;
    context.strokeStyle = "rgba(120, 220, 255, 0.6)";
    context.stroke();
  }

  draw_contour(contour, {left, top, scale_u, scale_v}) {
    const {context} = this;
    context.strokeStyle = "white";
    context.lineWidth = 1;
    for (const polygon of contour.polygons) {
      context.beginPath();
      for (const {u, v} of polygon) context.lineTo(left + u * scale_u, top + v * scale_v);
      context.closePath();
      context.stroke();
      const points = contour.drag ? [contour.grabbed] : polygon;   // while one is dragged the others are too many to show
      for (const point of points) {
        context.fillStyle = point === contour.grabbed ? "yellow" : "white";
        context.fillRect(left + point.u * scale_u - 3, top + point.v * scale_v - 3, 6, 6);
      }
    }
  }

  draw_brush({left, top, scale_u, scale_v}) {
    const {u, v} = state.pointer;
    const radius = state.size_mm * scale_u / state.grid.spacing[this.plane.u];
    this.context.beginPath();
    this.context.arc(left + u * scale_u, top + v * scale_v, radius, 0, 2 * Math.PI);
    this.context.lineWidth = 1.5;
    this.context.strokeStyle = state.tool === "brush" ? label_of(state.label).color : "white";
    this.context.stroke();
  }

  draw_letters({width, height}) {
    const {context, plane} = this;
    context.font = "bold 15px sans-serif";
    context.fillStyle = "#ffe08a";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.shadowColor = "black";
    context.shadowBlur = 4;
    context.fillText(plane.letters.left, 12, height / 2);
    context.fillText(plane.letters.right, width - 12, height / 2);
    context.fillText(plane.letters.top, width / 2, 13);
    context.fillText(plane.letters.bottom, width / 2, height - 13);
    context.shadowBlur = 0;
  }

  /** For people who do not see the canvas. */
  describe({number}) {
    this.canvas.setAttribute("aria-label", `${this.plane.name} plane, slice ${number + 1} of ${state.grid.size[this.plane.n]}`);
  }
}
