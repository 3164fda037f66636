// The report's page: tables, samples, settings. Curves are in curves.js. What it shows stands in #data as JSON
// (examples/report_page.cpp); nothing is fetched. Texts from files go in as text, never as markup.
"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const runs = report.runs;

// Okabe and Ito's colours, told apart by most eyes; some of them darker for a white page.
const kColours = {
  light: ["#0063a6", "#c44e00", "#007a58", "#a3357f", "#8a6d00", "#2a7fb8", "#5b5f66", "#7a3ea8",
    "#b3261e", "#3f7d20", "#00757f", "#6d4c41"],
  dark: ["#6cb6ff", "#ff9d5c", "#3ddbac", "#f08fd0", "#f0d34a", "#9ad7ff", "#c3c9d1", "#c9a2f2",
    "#ff8a80", "#a5d66f", "#5fd7e0", "#d7b49e"],
};
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const isDark = () => prefersDark.matches && !printing;
const colourOf = (index) => {
  const colours = kColours[isDark() ? "dark" : "light"];
  return colours[index % colours.length];
};

const byId = (id) => document.getElementById(id);

/// An element with attributes and children; texts become text nodes.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const isNumber = (cell) => typeof cell === "string" && cell.trim() !== "" && !Number.isNaN(Number(cell));

/// rows: lists of cells, the first its heading; columns of numbers are set to the right, heading too.
function table(columns, rows, caption) {
  const isNone = (cell) => cell === "" || cell === "–";
  const classes = columns.map((_, i) => (i > 0 && rows.some((row) => isNumber(row[i])) &&
    rows.every((row) => isNumber(row[i]) || isNone(row[i])) ? "number" : ""));
  const head = make("tr", {}, ...columns.map((name, i) => make("th", { scope: "col", class: classes[i] }, name)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell, i) =>
    i === 0 ? make("th", { scope: "row" }, cell) : make("td", { class: classes[i] }, cell))));
  return make("table", {}, make("caption", { class: "visually-hidden" }, caption), make("thead", {}, head),
    make("tbody", {}, ...body));
}

function chip(index) {
  const mark = make("span", { class: "chip", "aria-hidden": "true", "data-run": index });
  mark.style.background = colourOf(index);
  return mark;
}

/// A number with up to six digits.
function shownNumber(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  return String(Number(value.toPrecision(6)));
}

/// The last value of a series, as text.
function lastOf(run, name) {
  const series = run.series[name];
  return series ? shownNumber(series.y[series.y.length - 1]) : "–";
}

/// Of a run that is not finished also when it wrote last: one that was broken off is told from one that goes on.
function stateOf(run) {
  if (run.state !== "not finished" || run.written === null) return run.state;
  const two = (number) => String(number).padStart(2, "0"), at = new Date(1000 * run.written);
  return run.state + ", last written " + at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate()) + " " +
    two(at.getHours()) + ":" + two(at.getMinutes());
}

function showRuns() {
  const rows = runs.map((run, index) => {
    const shown = make("input", { type: "checkbox", checked: !run.hidden, "aria-label": "show " + run.label });
    shown.addEventListener("change", () => { run.hidden = !shown.checked; keepSettings(); drawCurves(); });
    const progress = run.total === null ? String(run.last) : run.last + " of " + run.total;
    return [make("span", {}, shown, " ", chip(index), run.label), stateOf(run), progress, lastOf(run, "loss"),
      lastOf(run, "validation.psnr"), lastOf(run, "validation.ssim"), String(run.lines), String(run.skipped)];
  });
  byId("runs").append(table(["run", "state", "iteration", "loss", "PSNR dB", "SSIM", "lines", "lines skipped"],
    rows, "The runs of this report"));
  const going = runs.filter((run) => run.state === "not finished").length;
  byId("state").textContent = runs.length + (runs.length === 1 ? " run" : " runs") +
    (going > 0 ? ", " + going + " not finished" : "") + (report.refresh ? "; written anew while it goes on" : "");
  for (const run of runs) for (const note of run.notes) byId("notes").append(make("li", {}, run.label + ": " + note));
}

/// The newest sheet of a run at or before an iteration, else its first.
function sheetAt(run, iteration) {
  let found = run.samples[0];
  for (const sheet of run.samples) if (sheet.iteration <= iteration) found = sheet;
  return found;
}

function showSamples() {
  const having = runs.filter((run) => run.samples.length > 0);
  const iterations = [...new Set(having.flatMap((run) => run.samples.map((sheet) => sheet.iteration)))];
  iterations.sort((a, b) => a - b);
  if (iterations.length === 0) return;
  byId("samples-section").hidden = false;
  const views = having.map((run) => {
    const image = make("img", { alt: "" }), caption = make("figcaption");
    byId("samples").append(make("figure", {}, image, caption));
    return { run, image, caption };
  });
  const slider = byId("sample");
  slider.max = iterations.length - 1;
  const show = () => {
    const iteration = iterations[slider.value];
    byId("sample-value").textContent = iteration;
    slider.setAttribute("aria-valuetext", "iteration " + iteration);
    for (const { run, image, caption } of views) {
      const sheet = sheetAt(run, iteration);
      const src = report.images[sheet.image];
      if (image.src !== src) image.src = src;
      image.alt = "inputs left, reconstructions right, of " + run.label + " at iteration " + sheet.iteration;
      caption.textContent = run.label + ", iteration " + sheet.iteration +
        (run.samples_left > 0 ? " (" + run.samples_left + " sheets more in its folder)" : "");
    }
  };
  const kept = chosen.has("sample") ? iterations.indexOf(Number(chosen.get("sample"))) : -1;
  slider.value = kept >= 0 ? kept : iterations.length - 1;
  slider.addEventListener("input", () => { show(); keepSettings(); });
  show();
}

function showMeasured() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.series)))]
    .filter((name) => name.startsWith("validation.") || name.startsWith("leak."));
  if (names.length === 0) return;
  byId("measured-section").hidden = false;
  const what = { psnr: "PSNR dB", ssim: "SSIM", ssim_wang: "SSIM (Wang)", images: "images" };
  const named = (name) => {
    const parts = name.split(".");
    const last = what[parts[parts.length - 1]] ?? parts[parts.length - 1];
    return parts[0] === "leak" && parts.length > 2 ? "leak, " + parts[1] + " noise: " + last
      : parts[0] + ": " + last;
  };
  byId("measured").append(table(["at the end", ...runs.map((run) => run.label)],
    names.map((name) => [named(name), ...runs.map((run) => lastOf(run, name))]),
    "Last validation and leak figures of each run"));
}

/// Numbers with six digits, and without columns in which nothing stands.
function showTables() {
  for (const run of runs) {
    for (const found of run.tables) {
      const kept = found.columns.map((_, i) => i).filter((i) => i === 0 || found.rows.some((row) => row[i] !== ""));
      const rows = found.rows.map((row) => kept.map((i) => (isNumber(row[i]) ? shownNumber(Number(row[i])) : row[i])));
      byId("tables-section").hidden = false;
      byId("tables").append(make("h3", {}, run.label + ": " + found.name),
        make("div", { class: "scroll" }, table(kept.map((i) => found.columns[i]), rows, found.name)));
    }
  }
}

function showPictures() {
  for (const run of runs) {
    for (const picture of run.pictures) {
      byId("pictures-section").hidden = false;
      byId("pictures").append(make("figure", { class: "panel" },
        make("img", { src: report.images[picture.image], alt: "picture " + picture.name + " of " + run.label,
          loading: "lazy" }),
        make("figcaption", {}, run.label + ": " + picture.name)));
    }
    if (run.pictures_left > 0)
      byId("notes").append(make("li", {}, run.label + ": " + run.pictures_left + " pictures more in its folder"));
  }
}

function showSettings() {
  const keys = [...new Set(runs.flatMap((run) => run.settings.map(([key]) => key)))];
  if (keys.length === 0) return;
  byId("settings-section").hidden = false;
  const maps = runs.map((run) => new Map(run.settings));
  const having = maps.filter((map) => map.size > 0);
  const settings = table(["key", ...runs.map((run) => run.label)],
    keys.map((key) => [key, ...maps.map((map) => map.get(key) ?? "–")]), "Settings of each run");
  settings.querySelectorAll("tbody tr").forEach((row, i) => {
    const differs = new Set(having.map((map) => map.get(keys[i]))).size > 1;
    row.className = differs ? "differs" : "same";
    if (differs) row.firstChild.append(make("span", { class: "visually-hidden" }, " (differs)"));
  });
  byId("settings").append(settings);
  const only = byId("differences");
  const choose = () => byId("settings").classList.toggle("differences-only", only.checked);
  only.checked = runs.length > 1 && chosen.has("differences");
  only.addEventListener("change", () => { choose(); keepSettings(); });
  choose();
  only.closest("p").hidden = runs.length < 2;
}
