// The page: puts the parts together and answers buttons and keys.
//
//   state.js          what is shown now                  api.js            the server
//   volume.js         grid, planes, slices               cases.js          opening, uploading, segmenting
//   planes.js         drawing a plane                    corrections.js    interpolation, new versions, downloads
//   tools.js          pointer and keys on a plane        panel.js          window, labels, tools
//   editor.js         the mask, undo, volumes, Dice      mesh.js           the 3-D view
//   paint.js, contour.js, contour_tool.js                what the tools do to voxels

import * as api from "./api.js";
import {open_mask, open_scan, remembered, run_model} from "./cases.js";
import {refresh_contour} from "./contour_tool.js";
import * as corrections from "./corrections.js";
import {MeshView, read_mesh} from "./mesh.js";
import {
  attach_panel, change_size, choose_tool, element, fill_select, go_to_label, kPresets, show_panel, use_preset,
} from "./panel.js";
import {PlaneView} from "./planes.js";
import {go_to, label_of, on_redraw, redraw, state} from "./state.js";
import {attach_tools} from "./tools.js";
import {kPlanes} from "./volume.js";

const views = Object.keys(kPlanes).map((key) => new PlaneView(key, element(key)));
const mesh_view = new MeshView(element("mesh"));
let models = [], job = null, opacity_before = 0.4;

function say(line, kind = "") {
  element("status").value = line;
  element("status").className = kind;
}

/** Runs an action that may fail; whatever goes wrong is shown in the status line. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, "error");
    console.error(error);
  }
}

const on_click = (id, action) => element(id).addEventListener("click", () => attempt(action));
const may_leave = () => !state.editor?.dirty || confirm("The corrections are not saved. Leave them?");

// --- what is open ----------------------------------------------------------------------------------------------------

async function show_scans() {
  const list = await api.scans();
  fill_select(element("scans"), [{value: "", text: "choose ..."}, ...list.map(({id, name}) => ({value: id, text: name}))],
    state.scan?.id ?? "");
  return list;
}

async function show_models(chosen) {
  models = await api.models();
  const origins = {option: "command line", environment: "CTSEG_MODEL", upload: "uploaded", store: "kept"};
  const items = models.map(({id, name, source}) => ({value: id, text: `${name} (${origins[source] ?? source})`}));
  fill_select(element("models"), items.length > 0 ? items : [{value: "", text: "none"}], chosen);
}

function show_versions() {
  const items = (state.scan?.masks ?? []).map(({id, version, kind, note}) => ({
    value: id, text: `${version}: ${kind}${note ? `, ${note}` : ""}`,
  }));
  if (state.mask === null) items.unshift({value: "", text: "none yet"});
  fill_select(element("versions"), items, state.mask?.id ?? "");
}

const chosen_model = () => models.find(({id}) => String(id) === element("models").value) ?? null;

async function show_scan(id, mask_id = null) {
  say("Loading ...");
  if (!await open_scan(id, {mask_id, model: chosen_model()})) return;
  element("scans").value = id;
  clear_mesh();
  after_loading();
  const {size, spacing} = state.grid, {name, warnings} = state.scan;
  const millimetres = spacing.map((s) => Number(s.toFixed(3)));
  const warning = warnings?.length ? ` Warning: ${warnings.join("; ")}` : "";
  say(`${name}: ${size.join(" x ")} voxels of ${millimetres.join(" x ")} mm.${warning}`);
}

/** Buttons and sliders for what is open now. */
function after_loading() {
  show_versions();
  for (const slider of document.querySelectorAll("[data-plane]")) slider.max = state.grid.size[kPlanes[slider.dataset.plane].n];
  element("segment").disabled = false;
  element("save").disabled = element("interpolate").disabled = false;
  element("build").disabled = element("download").disabled = state.mask === null;
  const {mask} = state;
  element("seconds").value = mask?.seconds ? `${mask.seconds.toFixed(1)} s${mask.model ? `, ${mask.model}` : ""}` : "";
}

async function upload_file(where, file) {
  element("progress").hidden = false;
  say(`Uploading ${file.name} ...`);
  try {
    return await api.upload(where, file, (fraction) => { element("progress").value = fraction; });
  } finally {
    element("progress").hidden = true;
  }
}

async function upload_scan(file) {
  if (!file || !may_leave()) return;
  const scan = await upload_file("scans", file);
  await show_scans();
  await show_scan(scan.id);
}

/** What was dropped, which must be one file. */
function one_file({files, items}) {
  if (files.length > 1 || [...items].some((item) => item.webkitGetAsEntry()?.isDirectory)) {
    throw new Error("Nothing was opened: drop one file. A DICOM series, or a .mhd with its .raw, goes in as one zip of them.");
  }
  return files[0];
}

async function segment() {
  if (models.length === 0) return say("There is no model yet: Add model takes a model file of ctseg (.safetensors, .onnx).", "error");
  element("progress").hidden = element("stop").hidden = false;
  element("segment").disabled = true;
  const scan = state.scan.id;
  try {
    const finished = await run_model(chosen_model().id, (running) => {
      job = running;
      element("progress").value = running.progress;
      say(running.state === "queued" ? "Waiting for another job ..." : `Segmenting: ${Math.round(running.progress * 100)} %`);
    });
    if (finished.state === "cancelled") return say("Stopped.");
    if (state.scan.id !== scan) return say("Segmented; choose the scan again to see its mask.");
    const described = await api.scan(scan);
    if (state.scan.id !== scan) return say("Segmented; choose the scan again to see its mask.");
    state.scan = described;
    show_versions();
    if (!may_leave()) return say("Segmented; the mask is among the versions.");
    if (!await open_mask(finished.mask)) return;
    clear_mesh();
    after_loading();
    const {device, device_reason: reason} = finished;   // not where it was to run: a card may have refused it
    const why = device !== state.info.device && reason ? `; no card: ${reason}` : ".";
    say(`Segmented in ${state.mask.seconds.toFixed(1)} s on ${device}${why}`);
  } finally {
    element("progress").hidden = element("stop").hidden = true;
    element("segment").disabled = false;
  }
}

// --- corrections and the 3-D view ------------------------------------------------------------------------------------

async function save() {
  say("Saving ...");
  const saved = await corrections.save(element("note").value);
  element("note").value = "";
  after_loading();
  const dice = saved.dice === undefined || saved.dice === null ? "" : `, Dice to version before it ${saved.dice.toFixed(4)}`;
  say(`Saved as version ${saved.version}${dice}.`);
  if (mesh_view.count > 0) await build_mesh();
}

function undo(how) {
  const step = state.editor?.[how]();
  if (!step) return;
  const {axis, slice} = step.where;
  if (slice !== undefined) go_to(state.cross.map((v, k) => k === axis ? slice : v));   // show what changed
  redraw();
}

async function build_mesh() {
  if (!mesh_view.available) throw new Error("This browser has no WebGL 2; the STL can be downloaded all the same.");
  const label = label_of(state.label);
  element("mesh_info").value = "Building ...";
  try {
    const {buffer, simplified} = await api.mesh(state.mask.id, label.id), mesh = read_mesh(buffer);
    mesh_view.show(mesh, label.color);
    const triangles = `${(mesh.indices.length / 3).toLocaleString("en")} triangles`;
    const view = simplified ? ", simplified; the files are not" : "";
    const unsaved = state.editor.dirty ? "; saved version, not your latest strokes" : "";
    element("mesh_info").value = `${label.name}, ${triangles}${view}${unsaved}`;
  } catch (error) {
    clear_mesh();
    throw error;
  }
}

function clear_mesh() {
  element("mesh_info").value = "";
  mesh_view.count = 0;
  if (mesh_view.available) mesh_view.draw();
}

// --- keys ------------------------------------------------------------------------------------------------------------

const kKeys = {
  v: () => choose_tool("navigate"), w: () => choose_tool("window"), b: () => choose_tool("brush"),
  e: () => choose_tool("erase"), f: () => choose_tool("fill"), c: () => choose_tool("contour"),
  "[": () => change_size(0.8), "]": () => change_size(1.25),
  o: () => { state.outlines = !state.outlines; },
  m: () => {
    if (state.opacity > 0) opacity_before = state.opacity;
    state.opacity = state.opacity > 0 ? 0 : opacity_before;
  },
  i: () => interpolate(),
  g: () => go_to_label(label_of(state.label)),
  x: () => { state.center = state.cross.map((v) => v + 0.5); },
  l: () => element("views").classList.toggle("one"),
  "?": () => element("keys").showModal(),
};
kPresets.forEach((_, i) => { kKeys[String(i + 1)] = () => use_preset(i); });

async function interpolate() {
  if (state.editor !== null) say(await corrections.interpolate());
}

function on_key(event) {
  if (element("keys").open) return;
  const key = event.key.toLowerCase(), typing = event.target.matches("input[type=text], input[type=number]");
  if (event.ctrlKey || event.metaKey) {
    const action = {z: () => undo(event.shiftKey ? "redo" : "undo"), y: () => undo("redo"), s: save}[key];
    if (action === undefined || state.editor === null || (typing && key !== "s")) return;   // undo is then that of the text
    event.preventDefault();
    return attempt(action);
  }
  if (typing || event.target.matches("select") || !(key in kKeys)) return;
  event.preventDefault();
  attempt(kKeys[key]);
  redraw();
}

// --- every frame -----------------------------------------------------------------------------------------------------

function show() {
  const ready = state.voxels !== null;
  if (ready && state.tool === "contour") refresh_contour(views.find(({key}) => key === state.active));
  for (const view of views) {
    view.draw();
    view.canvas.parentElement.classList.toggle("active", view.key === state.active);
  }
  show_panel();
  if (!ready) return;
  element("welcome").hidden = true;
  for (const slider of document.querySelectorAll("[data-plane]")) {
    const axis = kPlanes[slider.dataset.plane].n;
    slider.value = state.cross[axis] + 1;
    slider.nextElementSibling.value = `${state.cross[axis] + 1} / ${state.grid.size[axis]}`;
  }
  const index = state.grid.index(state.cross), label = label_of(state.editor.labels[index]);
  element("place").textContent = `voxel ${state.cross.map((v) => v + 1).join(", ")}: ${state.voxels[index]} HU, ${label.name}`;
  document.title = `${state.editor.dirty ? "* " : ""}${state.scan.name} - ctseg`;
}

function attach() {
  attach_panel();
  for (const view of views) attach_tools(view, say);
  for (const slider of document.querySelectorAll("[data-plane]")) {
    const axis = kPlanes[slider.dataset.plane].n;
    slider.addEventListener("input", () => go_to(state.cross.map((v, k) => k === axis ? Number(slider.value) - 1 : v)));
  }
  element("scans").addEventListener("change", ({target}) => attempt(async () => {
    try {
      if (target.value !== "" && may_leave()) await show_scan(Number(target.value));
    } finally {
      target.value = state.scan?.id ?? "";
    }
  }));
  element("versions").addEventListener("change", ({target}) => attempt(async () => {
    try {
      if (target.value !== "" && may_leave()) await open_mask(Number(target.value));
    } finally {
      clear_mesh();
      after_loading();
    }
  }));
  element("scan_file").addEventListener("change", ({target}) => attempt(() => upload_scan(target.files[0])));
  element("model_file").addEventListener("change", ({target}) => attempt(async () => {
    const model = await upload_file("models", target.files[0]);
    await show_models(model.id);
    if (state.scan !== null) after_loading();
    say(`Model ${model.name}: ${model.labels.map(({name}) => name).join(", ")}.`);
  }));
  on_click("segment", segment);
  on_click("stop", () => api.stop_job(job.id));
  on_click("undo", () => undo("undo"));
  on_click("redo", () => undo("redo"));
  on_click("interpolate", interpolate);
  on_click("save", save);
  on_click("build", build_mesh);
  on_click("help", () => element("keys").showModal());
  element("download").addEventListener("change", ({target}) => attempt(async () => {
    const type = target.value;
    target.value = "";
    if (state.editor.dirty) say("The file shows the saved version, without your latest strokes.");
    await corrections.download(type);
  }));
  document.addEventListener("keydown", on_key);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    attempt(() => upload_scan(one_file(event.dataTransfer)));
  });
  addEventListener("beforeunload", (event) => { if (state.editor?.dirty) event.preventDefault(); });
  new ResizeObserver(() => {
    redraw();
    if (mesh_view.available) mesh_view.draw();
  }).observe(element("views"));
  on_redraw(show);
}

/** Opens what was open before a reload, else the scan of the command line, else tells how to open one. */
async function start() {
  attach();
  redraw();
  state.info = await api.info();
  const {version, device, threads, isa} = state.info;
  element("device").textContent = `ctseg ${version}, ${device}, ${threads} threads${isa ? `, ${isa}` : ""}`;
  await show_models();
  const list = await show_scans();
  const before = remembered();
  if (before !== null && list.some(({id}) => id === before.scan)) await show_scan(before.scan, before.mask);
  else if (state.info.scan !== null) await show_scan(state.info.scan);
  else element("welcome").hidden = false;
}

attempt(start);
