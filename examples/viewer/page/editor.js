// The mask being corrected: every change of a voxel goes through `set`, so that undo, volumes and Dice are always right.

const kMostSteps = 200;   // that undo remembers

export class MaskEditor {
  /** `labels` is changed in place; `model`, which never changes, is what the network said, or a mask that was given, or null. */
  constructor(grid, labels, model) {
    this.grid = grid;
    this.labels = labels;
    this.model = model;
    this.done = [];     // steps that can be undone, newest last
    this.undone = [];   // steps that can be done again
    this.saved_at = null;   // the step that was the newest one when the mask was saved
    this.open = null;
    this.count();
  }

  /** Voxels of each label here, in the model's mask, and in both: recounted once, then kept right by `set`. */
  count() {
    this.voxels = new Float64Array(256);
    this.model_voxels = new Float64Array(256);
    this.common = new Float64Array(256);
    for (let i = 0; i < this.labels.length; ++i) {
      const label = this.labels[i];
      ++this.voxels[label];
      if (this.model === null) continue;
      ++this.model_voxels[this.model[i]];
      if (this.model[i] === label) ++this.common[label];
    }
  }

  volume_ml(label) {
    return this.voxels[label] * this.grid.voxel_ml;
  }

  /** Dice with the model's mask; null where both are empty or there is no model's mask. */
  dice(label) {
    const sum = this.voxels[label] + this.model_voxels[label];
    return this.model === null || sum === 0 ? null : 2 * this.common[label] / sum;
  }

  get dirty() {
    return (this.done.at(-1) ?? null) !== this.saved_at;
  }

  /** Opens a step. `where` says what was worked on: {label, axis, slice}; without a slice for what has none. */
  begin(where) {
    this.end();
    this.open = {where, before: new Map()};
  }

  set(index, label) {
    const old = this.labels[index];
    if (old === label) return;
    if (!this.open.before.has(index)) this.open.before.set(index, old);
    this.replace(index, old, label);
  }

  replace(index, old, label) {
    this.labels[index] = label;
    --this.voxels[old];
    ++this.voxels[label];
    if (this.model === null) return;
    if (this.model[index] === old) --this.common[old];
    if (this.model[index] === label) ++this.common[label];
  }

  /** Closes the step. Returns whether it changed anything. */
  end() {
    const step = this.open;
    this.open = null;
    if (step === null || step.before.size === 0) return false;
    const indices = Uint32Array.from(step.before.keys());
    this.done.push({
      where: step.where, indices,
      before: Uint8Array.from(step.before.values()),
      after: Uint8Array.from(indices, (index) => this.labels[index]),
    });
    if (this.done.length > kMostSteps) {   // undo stops behind the step that is forgotten: is that the saved mask?
      const forgotten = this.done.shift();
      if (this.saved_at === null) this.saved_at = undefined;   // out of reach
      if (this.saved_at === forgotten) this.saved_at = null;
    }
    this.undone.length = 0;
    return true;
  }

  undo() { return this.move(this.done, this.undone, "before"); }

  redo() { return this.move(this.undone, this.done, "after"); }

  move(from, to, values) {
    this.end();
    const step = from.pop();
    if (step === undefined) return null;
    step.indices.forEach((index, i) => this.replace(index, this.labels[index], step[values][i]));
    to.push(step);
    return step;
  }

  /** Slices along `axis` where `label` was worked on since it was last interpolated, in order. */
  edited_slices(axis, label) {
    const slices = new Set();
    for (const {where} of this.done) {
      if (where.label !== label || where.axis !== axis) continue;
      if (where.interpolated) slices.clear();
      else slices.add(where.slice);
    }
    return [...slices].sort((a, b) => a - b);
  }
}
