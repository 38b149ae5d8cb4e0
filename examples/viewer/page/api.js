// Talking to the server: the only file that knows its addresses (docs/viewer_api.md).

// The address that `ctseg view` prints ends in #TOKEN. It is kept for this tab, so that reloading and the history page work.
// It leaves the address bar at once, where others would read it.
if (location.hash.length > 1) {
  const token = location.hash.slice(1);
  // Another server at the same port, perhaps of another store: its numbers mean other scans and masks.
  if (token !== sessionStorage.getItem("token")) sessionStorage.removeItem("open");
  sessionStorage.setItem("token", token);
  window.history.replaceState(null, "", location.pathname);
}
addEventListener("hashchange", () => location.reload());   // the address of a server started again, opened in this tab

/** Sends a request. An answer that says error becomes an Error with the server's line. */
async function request(path, {method = "GET", body = null} = {}) {
  const headers = {"X-Ctseg-Token": sessionStorage.getItem("token") ?? ""};
  const response = await fetch(path, {method, body, headers}).catch(() => {
    throw new Error("The server does not answer. Is ctseg view still running?");
  });
  if (response.ok) return response;
  if (response.status === 401) throw new Error("This tab has no valid token. Open the address that ctseg view printed.");
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The server answered ${response.status}.`);
}

const get = async (path) => (await request(path)).json();
const bytes = async (path) => (await request(path)).arrayBuffer();
const post = async (path, body) => (await request(path, {method: "POST", body})).json();
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null));

export const info = () => get("/info");
export const scans = () => get("/scans");
export const scan = (id) => get(`/scans/${id}`);
export const mask = (id) => get(`/masks/${id}`);
export const models = () => get("/models");
export const history = () => get("/history");

export const scan_voxels = async (id) => new Int16Array(await bytes(`/scans/${id}/voxels`));
export const mask_voxels = async (id) => new Uint8Array(await bytes(`/masks/${id}/voxels`));
export async function mesh(mask_id, label) {
  const response = await request(`/masks/${mask_id}/mesh?${query({label})}`);
  return {buffer: await response.arrayBuffer(), simplified: response.headers.has("X-Ctseg-Simplified")};
}

export const save_mask = (scan_id, voxels, {parent = null, note = null, model = null}) =>
  post(`/scans/${scan_id}/masks?${query({parent, note, model})}`, voxels);

/** `inside`: the voxels of slices `slices` as 0 and 1, one slice after the other. The answer has all from first to last. */
export async function interpolate(scan_id, {plane, slices, inside}) {
  const path = `/scans/${scan_id}/interpolate?${query({plane, slices: slices.join(",")})}`;
  return new Uint8Array(await (await request(path, {method: "POST", body: inside})).arrayBuffer());
}

export const start_job = (scan_id, model_id) => post("/jobs", JSON.stringify({scan: scan_id, model: model_id}));
export const job = (id) => get(`/jobs/${id}`);
export const stop_job = (id) => request(`/jobs/${id}`, {method: "DELETE"});

/** Uploads a file to /scans or /models. XMLHttpRequest, because fetch does not tell how far it is. */
export function upload(where, file, on_progress) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", `/${where}?${query({name: file.name})}`);
    xhr.setRequestHeader("X-Ctseg-Token", sessionStorage.getItem("token") ?? "");
    xhr.responseType = "json";
    xhr.upload.onprogress = (event) => on_progress(event.loaded / event.total);
    xhr.onload = () => xhr.status < 300 ? resolve(xhr.response)
      : reject(new Error(xhr.response?.error ?? `The server answered ${xhr.status}.`));
    xhr.onerror = () => reject(new Error("The upload was cut off."));
    xhr.send(file);
  });
}

export const file_path = (mask_id, type, label = null) => `/masks/${mask_id}/file?${query({type, label})}`;
export const overlay_path = (mask_id, view) => `/masks/${mask_id}/overlay?${query(view)}`;

/** Saves what `path` gives as a file: a plain link could not carry the token. */
export async function download(path, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await request(path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
