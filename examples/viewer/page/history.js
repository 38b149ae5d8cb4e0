// The history page: scans with their masks, and what happened when. A link opens a version in the viewer.

import * as api from "./api.js";

const cell = (row, ...content) => row.insertCell().append(...content);
const say = (line) => { document.getElementById("status").textContent = line; };
const kKinds = {scan: "scan opened", job: "segmentation", mask: "mask", mesh: "3-D model"};
const date = (text) => new Date(text).toLocaleString();

/** Opens a scan and a mask in the viewer: it looks for them where it would after a reload. */
function link(text, scan, mask) {
  const result = Object.assign(document.createElement("a"), {href: "./", textContent: text});
  result.addEventListener("click", () => sessionStorage.setItem("open", JSON.stringify({scan, mask})));
  return result;
}

function describe({version, kind, labels, seconds, dice, note}) {
  const volume = labels.reduce((sum, label) => sum + (label.volume_ml ?? 0), 0);
  const parts = [`${version}: ${kind}`, `${volume.toFixed(1)} ml`];
  if (seconds) parts.push(`${seconds.toFixed(1)} s`);
  if (dice !== undefined && dice !== null) parts.push(`Dice ${dice.toFixed(4)}`);
  if (note) parts.push(note);
  return parts.join(", ");
}

async function show() {
  const [scans, events] = await Promise.all([api.scans(), api.history()]);
  for (const {id, name, added, shape, masks} of scans) {
    const row = document.querySelector("#scans tbody").insertRow();
    cell(row, link(name, id, masks.at(-1)?.id ?? null));
    cell(row, date(added));
    cell(row, shape.join(" x "));
    cell(row, ...masks.flatMap((mask) => [link(describe(mask), id, mask.id), document.createElement("br")]));
  }
  for (const {when, kind, scan, scan_name, mask, words} of events) {
    const row = document.querySelector("#events tbody").insertRow();
    cell(row, date(when));
    cell(row, `${kKinds[kind] ?? kind}: ${words ?? ""}`);
    cell(row, scan_name ?? "");
    cell(row, scan ? link("open", scan, mask ?? null) : "");
  }
  say(`${scans.length} scans, ${events.length} events. All of it lies on this machine.`);
}

show().catch((error) => say(error.message));
