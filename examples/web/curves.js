// The report's curves, drawn by Chart.js: one chart a kind of figure, all runs over one another, the stages
// marked; below it a line for each curve, what it is and its value under the pointer. Thinned series
// (train/metrics_series.h) show every peak; smoothing works on the means beside them and begins anew with a stage.
"use strict";

const kDashes = [[], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4]];
const kGroups = [
  { title: "Loss", takes: (name) => ["loss", "mse", "lpips"].includes(name),
    // without LPIPS the mean squared error is the loss
    leaves: (name) => name === "mse" && !runs.some((run) => run.series.lpips) },
  { title: "PSNR in dB, validation", takes: (name) => name === "validation.psnr" },
  { title: "SSIM, validation", takes: (name) => name.startsWith("validation.ssim") },
  { title: "Learning rates", takes: (name) => name.startsWith("lr") },
  { title: "Gradient norms before clipping", takes: (name) => name.startsWith("grad_norm") },
  { title: "Others", takes: (name) => !/^(validation|leak)\./.test(name) },
];
const charts = [];
const settings = { log: false, smoothing: 0, from: null, to: null };

/// Means between points, where a series was not thinned its own points: exponentially weighted by the distance
/// in steps, so that uneven series are smoothed evenly; what was before one of `starts` does not count after it.
/// 0: the points as they are.
function smoothed(series, amount, starts = []) {
  const whole = series.mx.length > 0 ? { x: series.mx, y: series.my } : series;
  if (amount <= 0 || whole.y.length < 3) return { x: series.x, y: series.y };
  const step = (whole.x[whole.x.length - 1] - whole.x[0]) / (whole.x.length - 1);
  let sum = 0, weight = 0;
  const y = whole.y.map((value, i) => {
    const begins = i === 0 || starts.some((start) => whole.x[i - 1] < start && start <= whole.x[i]);
    const keep = begins ? 0 : Math.pow(amount, (whole.x[i] - whole.x[i - 1]) / step);
    sum = sum * keep + value * (1 - amount);
    weight = weight * keep + (1 - amount);
    return sum / weight;
  });
  return { x: whole.x, y };
}

/// Place of the point nearest to x.
function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : low;
}

/// Draws the pointer's line and where stages begin.
const marks = {
  id: "marks",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales } = chart;
    const line = (iteration, dash, colour, label, row) => {
      const x = scales.x.getPixelForValue(iteration);
      if (x < area.left || x > area.right) return;
      ctx.save();
      ctx.strokeStyle = colour;
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(x, area.top);
      ctx.lineTo(x, area.bottom);
      ctx.stroke();
      ctx.font = "11px sans-serif";
      ctx.fillStyle = style("--ink");
      if (label) ctx.fillText(label, x + 4, area.top + 10 + 12 * row);
      ctx.restore();
    };
    let row = 0;  // labels of runs whose stages begin side by side stand below one another
    runs.forEach((run, index) => {
      if (run.hidden || run.stages.length < 2) return;
      for (const [stage, from] of run.stages.slice(1)) line(from, [5, 4], colourOf(index), "stage " + stage, row % 5);
      ++row;
    });
    if (chart.pointer !== null && chart.pointer !== undefined) line(chart.pointer, [], style("--faint"));
  },
};

const style = (name) => (printing && { "--ink": "#000000", "--faint": "#333333", "--line": "#999999" }[name]) ||
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/// How a curve is drawn, as a little picture.
function swatch(dataset) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg"), line = document.createElementNS(space, "line");
  for (const [name, value] of Object.entries({ class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" }))
    picture.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: 1, x2: 25, y1: 4, y2: 4, "stroke-width": 2.5,
    stroke: dataset.borderColor, "stroke-dasharray": dataset.borderDash.join(" ") })) line.setAttribute(name, value);
  picture.append(line);
  return picture;
}

/// A line for every curve of a chart: what it is, and at an iteration its value in words.
function sayValues(chart, iteration) {
  chart.pointer = iteration;
  const lines = chart.data.datasets.filter((dataset) => dataset.raw.x.length > 0).map((dataset) => {
    let says = dataset.label;
    if (iteration !== null) {
      const at = nearest(dataset.raw.x, iteration), smooth = nearest(dataset.smooth.x, iteration);
      says += " at " + dataset.raw.x[at] + ": " + shownNumber(dataset.raw.y[at]) +
        (settings.smoothing > 0 ? " (smoothed " + shownNumber(dataset.smooth.y[smooth]) + ")" : "");
    }
    return [make("span", {}, swatch(dataset), says), "\n"];
  });
  chart.says.replaceChildren(...lines.flat());
  const left = chart.data.datasets.reduce((sum, dataset) => sum + dataset.left, 0);
  chart.leaves.textContent = left === 0 ? "" : left === 1 ? "1 value that is not above 0 is not drawn."
    : left + " values that are not above 0 are not drawn.";
  chart.draw();
}

function datasetsOf(group) {
  const datasets = [];
  runs.forEach((run, index) => {
    if (run.hidden) return;
    group.names.forEach((name, place) => {
      const raw = run.series[name];
      if (!raw) return;
      const smooth = smoothed(raw, settings.smoothing, run.stages.slice(1).map(([, from]) => from));
      const drawn = smooth.y.map((y) => (settings.log && y <= 0 ? NaN : y));
      datasets.push({
        label: (runs.length > 1 ? run.label + " " : "") + name.replace(/^(validation|grad_norm)\./, ""),
        data: smooth.x.map((x, i) => ({ x, y: drawn[i] })), left: drawn.filter(Number.isNaN).length,
        raw, smooth, borderColor: colourOf(index), backgroundColor: "transparent", borderWidth: 1.5,
        borderDash: kDashes[place % kDashes.length], pointBackgroundColor: colourOf(index),
        pointRadius: smooth.x.length < 30 ? 2.5 : 0, spanGaps: false,
      });
    });
  });
  return datasets;
}

/// Of a logarithmic axis: powers of ten; over fewer decades their halves and doubles too, over one all.
function logLabel(value) {
  const decades = Math.log10(this.max / this.min);
  const lead = Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9));
  const shown = decades > 3 ? [1] : decades > 1 ? [1, 2, 5] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  return shown.includes(lead) ? shownNumber(value) : "";
}

/// The iterations that are drawn: what was chosen, all where it is none.
function range() {
  const { from, to } = settings;
  return from !== null && to !== null && from >= to ? {} : { min: from ?? undefined, max: to ?? undefined };
}

function optionsOf() {
  const ink = style("--ink"), line = style("--line");
  const axis = { grid: { color: line }, ticks: { color: ink, maxRotation: 0, autoSkipPadding: 12 } };
  return {
    animation: false, parsing: false, normalized: true, responsive: true, maintainAspectRatio: false,
    events: ["mousemove", "mouseout", "click", "touchstart", "touchmove"],
    interaction: { mode: "nearest", axis: "x", intersect: false },
    onHover(event, _, chart) {
      if (event.x === null || event.type === "mouseout") return;
      sayValues(chart, chart.scales.x.getValueForPixel(event.x));
    },
    scales: {
      x: { type: "linear", ...range(), ...axis },
      y: settings.log ? { type: "logarithmic", ...axis, ticks: { ...axis.ticks, callback: logLabel } }
        : { type: "linear", ...axis },
    },
    plugins: {
      tooltip: { enabled: false },
      legend: { display: false },
    },
  };
}

/// ← and → go from point to point, Home and End to the ends.
function keysOf(chart, event) {
  const points = chart.data.datasets[0]?.raw.x ?? [];
  if (points.length === 0) return;
  const at = chart.pointer === null ? -1 : nearest(points, chart.pointer);
  const to = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(points.length - 1, at + 1), Home: 0,
    End: points.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  sayValues(chart, points[to]);
}

function makeCurves() {
  const left = new Set(runs.flatMap((run) => Object.keys(run.series)));
  for (const group of kGroups) {
    group.names = [...left].filter(group.takes);
    for (const name of group.names) left.delete(name);
    if (group.leaves) group.names = group.names.filter((name) => !group.leaves(name));
    if (group.names.length === 0) continue;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const frame = make("div", { class: "canvas", tabindex: "0", role: "img",
      "aria-label": group.title + ": " + group.names.join(", ") + " by iteration. Left and right arrow read values." },
      canvas);
    const says = make("output", { class: "values", "data-curve": group.title }), leaves = make("p", { class: "faint" });
    byId("curves").append(make("figure", { class: "curve panel" }, make("h3", {}, group.title), frame, leaves, says));
    const chart = new Chart(canvas, { type: "line", data: { datasets: datasetsOf(group) }, options: optionsOf(),
      plugins: [marks] });
    Object.assign(chart, { says, leaves, group });
    sayValues(chart, null);
    frame.addEventListener("keydown", (event) => keysOf(chart, event));
    charts.push(chart);
  }
  byId("curves-section").hidden = charts.length === 0;
}

function drawCurves() {
  for (const chart of charts) {
    chart.data.datasets = datasetsOf(chart.group);
    chart.options = optionsOf();
    chart.update("none");
    sayValues(chart, chart.pointer);
  }
}

/// What was chosen stays when the page is read anew: it stands behind the address's #.
function keepSettings() {
  const chosen = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) if (value) chosen.set(name, value);
  const hidden = runs.flatMap((run, index) => (run.hidden ? [index] : []));
  if (hidden.length > 0) chosen.set("hidden", hidden.join(" "));
  if (byId("differences").checked) chosen.set("differences", true);
  const sample = byId("sample");
  if (sample.value !== sample.max) chosen.set("sample", byId("sample-value").textContent);
  try {
    history.replaceState(null, "", "#" + chosen);
  } catch { /* a page out of an archive has no history of its own */ }
}

const chosen = new URLSearchParams(location.hash.slice(1));

function sayRange() {
  const { from, to } = settings;
  byId("range-says").textContent = from !== null && to !== null && from >= to ? "from " + from + " to " + to +
    " holds nothing: all is shown" : "";
}

function connectControls() {
  settings.log = chosen.get("log") === "true";
  settings.smoothing = Math.min(0.99, Math.max(0, Number(chosen.get("smoothing")) || 0));
  for (const end of ["from", "to"]) if (chosen.get(end)) settings[end] = Number(chosen.get(end)) || 0;
  const log = byId("log"), smoothing = byId("smoothing");
  log.checked = settings.log;
  smoothing.value = settings.smoothing;
  const changed = () => {
    settings.log = log.checked;
    settings.smoothing = Number(smoothing.value);
    byId("smoothing-value").textContent = smoothing.value;
    for (const end of ["from", "to"]) settings[end] = byId(end).value === "" ? null : Number(byId(end).value);
    sayRange();
    keepSettings();
    drawCurves();
  };
  byId("smoothing-value").textContent = smoothing.value;
  for (const end of ["from", "to"]) {
    if (settings[end] !== null) byId(end).value = settings[end];
    byId(end).addEventListener("change", changed);
  }
  sayRange();
  log.addEventListener("change", changed);
  smoothing.addEventListener("input", changed);
}

function recolour() {
  for (const mark of document.querySelectorAll(".chip")) mark.style.background = colourOf(Number(mark.dataset.run));
  drawCurves();
}

// A list of its own, which nobody asks: Chromium tells no change to one that was asked since.
const schemeChanges = window.matchMedia("(prefers-color-scheme: dark)");
schemeChanges.addEventListener("change", recolour);
window.addEventListener("beforeprint", () => {
  printing = true;
  recolour();
  for (const chart of charts) chart.resize(660, 245);  // a page's width, of whatever size the window is
});
window.addEventListener("afterprint", () => {
  printing = false;
  recolour();
  for (const chart of charts) chart.resize();
});

for (const index of (chosen.get("hidden") ?? "").split(" ")) if (index !== "" && runs[index]) runs[index].hidden = true;
showRuns();
connectControls();
makeCurves();
showSamples();
showMeasured();
showTables();
showPictures();
showSettings();
if (report.refresh) setTimeout(() => location.reload(), 1000 * report.refresh);
document.documentElement.dataset.ready = Math.round(performance.now());
