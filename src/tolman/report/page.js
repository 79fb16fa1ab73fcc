"use strict";
// Text that comes from documents or models is only ever set as textContent; nothing here parses HTML.
const root = document.documentElement;
let errors = 0;
function trouble(what) {
  errors += 1;
  root.dataset.errors = String(errors);
  const box = document.getElementById("trouble");
  box.hidden = false;
  box.textContent = "Something on this page did not work: " + what;
}
window.addEventListener("error", (e) => trouble(e.message));
window.addEventListener("unhandledrejection", (e) => trouble(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => trouble("blocked " + e.violatedDirective + " " + e.blockedURI));

const data = JSON.parse(document.getElementById("data").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- figures: drawn to the width there is, in the colours of the page ----

function fit(figure, available) {
  const spec = structuredClone(figure);
  const { left = 70, gap = 28, least = 230, shared = false } = spec.usermeta || {}; // shared: parts have one y axis, whose labels stand at the first of a row
  delete spec.title;
  const visit = (node) => {
    if (!node || typeof node !== "object") return;
    if (Array.isArray(node)) { node.forEach(visit); return; }
    const inner = node.facet && node.spec ? [node.spec] : node.concat;
    if (inner && node.columns) {
      const most = node.columns;
      node.columns = Math.max(1, Math.min(most, Math.floor((available - left + gap) / (least + gap))));
      const width = Math.floor((available - left - 24 - gap * (node.columns - 1)) / node.columns);
      for (const part of inner) part.width = Math.max(Math.min(160, least), Math.min(width, Math.round(part.width * 1.3)));
      if (shared) inner.forEach((part, i) => { for (const layer of part.layer) layer.encoding.y.axis.labels = i % node.columns === 0; });
      if (node.columns < most && node.facet && node.facet.header) delete node.facet.header.labelExpr;
    }
    Object.values(node).forEach(visit);
  };
  visit(spec);
  return spec;
}

function themed(columns) {
  const config = structuredClone(dark.matches ? data.themes.dark : data.themes.light);
  config.background = "transparent";
  config.padding = 2;
  config.legend.columns = columns;
  return config;
}

// How wide labels are depends on the fonts of the reader: what comes out wider than the page is drawn again, with fewer columns of legend or narrower panels.
const drawn = new Map();
async function draw(place) {
  const available = place.clientWidth;
  const figure = data.figures[place.dataset.figure];
  let room = available, columns = Math.max(1, Math.min(4, Math.floor(available / 215)));
  for (let tries = 0; tries < 6; tries++) {
    const before = drawn.get(place);
    const options = { config: themed(columns), actions: false, renderer: "svg", ast: true, tooltip: { theme: dark.matches ? "dark" : "light" } };
    const result = await vegaEmbed(place, fit(figure, room), options);
    if (before) before.finalize();
    drawn.set(place, result);
    const over = Number(place.querySelector("svg").getAttribute("width")) - available;
    if (over <= 0) break;
    const edge = place.getBoundingClientRect().left + available;
    const legends = [...place.querySelectorAll("g.role-legend")].some((legend) => legend.getBoundingClientRect().right > edge);
    if (legends && columns > 1) columns -= 1; else room -= Math.ceil(over);
  }
  place.dataset.width = String(available);
}

const places = [...document.querySelectorAll(".chart")];
async function drawAll() {
  for (const place of places) {
    try { await draw(place); } catch (error) { trouble("figure " + place.dataset.figure + ": " + error.message); }
  }
}
dark.addEventListener("change", drawAll);
let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => { if (places.some((p) => Math.abs(p.clientWidth - Number(p.dataset.width)) > 8)) drawAll(); }, 200);
});

// ---- saving: the files lie beside this page, but the page may have travelled alone ----

async function saved(name, kind) {
  if (kind === "csv") return URL.createObjectURL(new Blob([data.csv[name]], { type: "text/csv" }));
  const options = { config: data.themes.light, actions: false, renderer: "svg", ast: true };
  const { view } = await vegaEmbed(document.createElement("div"), structuredClone(data.figures[name]), options);
  return view.toImageURL(kind, 2);
}
for (const link of document.querySelectorAll("[data-save]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const url = await saved(link.dataset.save, link.dataset.as);
    const out = make("a");
    out.href = url;
    out.download = link.download;
    out.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
}

// ---- the table ----

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const value = (row) => row.cells[column].dataset.sort;
    const numbers = head.classList.contains("number");
    const rows = [...body.rows].sort((a, b) => (numbers ? (Number(value(a)) || 0) - (Number(value(b)) || 0) : value(a).localeCompare(value(b), undefined, { numeric: true })));
    body.append(...(down ? rows.reverse() : rows));
  });
}
