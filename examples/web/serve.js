// The page's controls: what they ask and where the answers go. Asking itself is in ask.js.
"use strict";

const byId = (id) => document.getElementById(id);
const pictures = { a: null, b: null };  // what the server said of them, and their files
const turns = { a: 0, b: 0 };           // how many files were chosen
const kLook = 3000;                     // milliseconds between looks whether the server is there
let model = null;
let quiet = null;
let away = false;  // the server did not answer when it was asked last
const pending = new Map();

/// A line for everyone, read out once things have come to rest, the newest of each subject; what went wrong at
/// once and alone.
function say(line, bad = false, subject = "") {
  if (bad) pending.clear();
  pending.set(subject, line);
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    byId("state").textContent = [...pending.values()].filter((text) => text !== "").join(" ");
    byId("state").classList.toggle("bad", bad);
    pending.clear();
  }, bad ? 0 : 300);
}

function lost() {
  away = true;
  say("The server does not answer: has it ended?", true);
}

const rounded = (value, digits) => (value === null ? "–" : value.toFixed(digits));
const words = (scores) => "PSNR " + rounded(scores.psnr, 2) + " dB, SSIM " + rounded(scores.ssim, 4);

let sending = null;

/// Sends the pictures again, once, however many questions found them gone.
function sendAgain() {
  const send = async () => {
    for (const place of ["a", "b"]) if (pictures[place]) await take(place, pictures[place].file);
  };
  sending ??= send().finally(() => { sending = null; });
  return sending;
}

/// The server keeps few pictures: one that it dropped is sent again.
async function failed(problem) {
  if (problem.status === 410) {
    say("The server had dropped the picture; it is sent again.");
    try {
      await sendAgain();
      return;
    } catch (again) {
      problem = again;
    }
  }
  if (problem instanceof Refused) say(problem.message, true);
  else lost();
}

/// Whether the server is there, and the same as before: one that was started again has none of the pictures.
async function look() {
  let now = null;
  try {
    now = await (await fetch("/api/model")).json();
  } catch {
    lost();
    return;
  }
  const same = now.begun === model.begun;
  if (same && !away) return;
  if (JSON.stringify({ ...now, begun: model.begun }) !== JSON.stringify(model)) {
    say("Another model is served here now: load this page anew.", true);
    return;
  }
  model = now;
  away = false;
  say(same ? "The server answers again." : "The server was started again.");
  for (const channel of [one, two, cleaning, sampling]) channel.changed();
}

function download(href, name) {
  if (!href) {
    say("There is no picture yet.");
    return;
  }
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

async function downloadAnswer(path, question, name) {
  try {
    const address = URL.createObjectURL(await ask(path, question, true));
    download(address, name);
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say("Saved " + name + ".");
  } catch (problem) {
    failed(problem);
  }
}

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const whole = (id) => Math.max(0, Math.floor(Number(byId(id).value) || 0));

/// A slider's value, said beside it.
function slider(id, changed) {
  const input = byId(id);
  input.addEventListener("input", () => {
    byId(id + "-value").textContent = input.value;
    changed();
  });
}

// one picture: figure 5, all maps at once

const factorInputs = () => [...document.querySelectorAll("#maps input")];

function question() {
  if (!pictures.a) return null;
  return { picture: pictures.a.picture, maps: chosen("maps"), seed: whole("maps-seed"),
    factors: factorInputs().map((input) => Number(input.value)) };
}

const one = new Channel("/api/picture", question, (answer) => {
  byId("made").src = answer.picture;
  byId("difference").src = answer.difference;
  byId("scores").textContent = words(answer.scores);
  say("Reconstruction: " + words(answer.scores) + ".", false, "one");
}, failed);

/// The tiles show the maps of the picture, whatever takes their places.
function showKind() {
  const kind = chosen("maps");
  byId("maps").classList.toggle("replaced", kind !== "predicted");
  const own = model.predicts_noise ? "the predicted maps" : "the fixed maps";
  byId("maps-say").textContent = kind === "random" ? `Random maps are in use; below stand ${own}.`
    : kind === "zero" ? `All maps are zero, and so is any factor of them; below stand ${own}.` : "";
}

function setFactor(input, value) {
  input.value = value;
  input.closest(".map").querySelector("output").textContent = input.value;
}

function showMaps(maps) {
  const group = byId("maps");
  const before = factorInputs().map((input) => input.value);
  group.replaceChildren(...maps.map((source, i) => {
    const side = model.maps[i];
    const tile = document.createElement("div");
    tile.className = "map panel";
    const image = document.createElement("img");
    image.src = source;
    image.alt = "";
    const head = document.createElement("div");
    head.className = "row";
    const label = document.createElement("label"), value = document.createElement("output");
    value.setAttribute("aria-live", "off");  // the slider says it
    label.textContent = `map ${i}, ${side}×${side}`;
    label.htmlFor = "map-" + i;
    const input = document.createElement("input");
    Object.assign(input, { type: "range", id: "map-" + i, min: -2, max: 3, step: 0.05 });
    value.htmlFor = "map-" + i;
    input.addEventListener("input", () => {
      value.textContent = input.value;
      one.changed();
    });
    head.append(label, value);
    tile.append(image, head, input);
    input.value = before[i] ?? 1;
    value.textContent = input.value;
    return tile;
  }));
}

// two pictures: figure 6

const two = new Channel("/api/between", () => {
  if (!pictures.a || !pictures.b) return null;
  return { left: pictures.a.picture, right: pictures.b.picture, latent: Number(byId("latent").value),
    noise: Number(byId("noise").value) };
}, (answer) => {
  byId("between").src = answer.picture;
  byId("between-says").textContent = "latent " + byId("latent").value + ", noise maps " + byId("noise").value;
  say("Between: " + byId("between-says").textContent + ".", false, "two");
}, failed);

// noise and its removal: figure 7

const cleaning = new Channel("/api/denoise", () => {
  if (!pictures.a) return null;
  return { picture: pictures.a.picture, sigma: Number(byId("sigma").value), seed: whole("sigma-seed") };
}, (answer) => {
  byId("noisy").src = answer.noisy;
  byId("denoised").src = answer.picture;
  byId("noisy-scores").textContent = words(answer.noisy_scores);
  byId("denoised-scores").textContent = words(answer.scores);
  say("Noise removed: " + words(answer.scores) + ".", false, "cleaning");
}, failed);

// samples

const sampling = new Channel("/api/sample", () => ({ seed: whole("sample-seed"), maps: chosen("sample-maps"),
  truncation: byId("truncation").value === "1" ? null : Number(byId("truncation").value) }), (answer) => {
  byId("sample").src = answer.picture;
  byId("sample-says").textContent = "seed " + whole("sample-seed") + ", truncation " + byId("truncation").value;
  say("Sample: " + byId("sample-says").textContent + ".", false, "sampling");
}, failed);

// pictures in

async function take(place, file) {
  const turn = ++turns[place];
  say("Encoding " + file.name + " …");
  const answer = await upload(file, model.most_bytes);
  if (turn !== turns[place]) return;  // another was chosen since
  pictures[place] = { ...answer, file };
  if (place === "a") {
    byId("input").src = byId("left").src = answer.input;
    byId("input-says").textContent = `input: ${file.name}, ${answer.width}×${answer.height}`;
    showMaps(answer.maps);
    byId("one").hidden = byId("denoising").hidden = false;
    byId("denoise-waits").hidden = true;
    one.changed();
    cleaning.changed();
  } else {
    byId("right").src = answer.input;
  }
  say("Encoded " + file.name + ".");
  byId("two").hidden = !(pictures.a && pictures.b);
  two.changed();
}

function connectDrop(place) {
  const zone = byId("drop-" + place), input = byId("file-" + place);
  const takeFirst = async (files) => {
    if (files.length === 0) return;
    try {
      await take(place, files[0]);
    } catch (problem) {
      failed(problem);
    }
  };
  input.addEventListener("change", () => takeFirst(input.files));
  for (const type of ["dragenter", "dragover"]) {
    zone.addEventListener(type, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length > 0) input.files = event.dataTransfer.files;  // says the name
    takeFirst(event.dataTransfer.files);
  });
}

function connect() {
  for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());
  connectDrop("a");
  connectDrop("b");
  for (const input of document.querySelectorAll('input[name="maps"]'))
    input.addEventListener("change", () => { showKind(); one.changed(); });
  byId("maps-seed").addEventListener("input", () => one.changed());
  slider("all", () => {
    for (const input of factorInputs()) setFactor(input, byId("all").value);
    one.changed();
  });
  byId("reset").addEventListener("click", () => {
    byId("all").value = 1;
    byId("all").dispatchEvent(new Event("input"));
  });
  slider("latent", () => two.changed());
  slider("noise", () => two.changed());
  slider("sigma", () => cleaning.changed());
  byId("sigma-seed").addEventListener("input", () => cleaning.changed());
  slider("truncation", () => sampling.changed());
  byId("sample-seed").addEventListener("input", () => sampling.changed());
  for (const input of document.querySelectorAll('input[name="sample-maps"]'))
    input.addEventListener("change", () => sampling.changed());
  byId("another").addEventListener("click", () => {
    byId("sample-seed").value = whole("sample-seed") + 1;
    sampling.changed();
  });
  for (const [button, image, name] of [["save-picture", "made", "reconstruction.png"], ["save-between", "between", "between.png"],
    ["save-denoised", "denoised", "denoised.png"], ["save-sample", "sample", "sample.png"]])
    byId(button).addEventListener("click", () => download(byId(image).src, name));
  byId("save-sheet").addEventListener("click", () => downloadAnswer("/api/sheet", question(), "sheet.png"));
  byId("save-code").addEventListener("click", () => downloadAnswer("/api/code", question(), "code.safetensors"));
}

async function begin() {
  try {
    model = await (await fetch("/api/model")).json();
  } catch {
    lost();
    return;
  }
  document.title = model.name + ": onemodel";
  byId("model").textContent = `${model.name}: ${model.size} pixels, ${model.maps.length} noise maps` +
    (!model.encodes ? "; a generator without an encoder" : model.predicts_noise ? "" : "; its encoder predicts no noise");
  for (const section of document.querySelectorAll("[data-needs=encoder]")) section.hidden = !model.encodes;
  byId("denoise-says").textContent = model.denoises
    ? "This model was trained to remove noise of sigma " + model.sigmas.join(", ") + "."
    : "This model was not trained to remove noise.";
  if (!model.predicts_noise) {
    const predicted = document.querySelector('input[name="maps"][value="predicted"]');
    predicted.parentElement.lastChild.textContent = " fixed";
  }
  if (!model.stored_noise) {
    document.querySelector('input[name="sample-maps"][value="stored"]').parentElement.remove();
    document.querySelector('input[name="sample-maps"]').checked = true;
  }
  connect();
  takesLong = (is) => say(is ? "The model is at work …" : "", false, "work");
  setInterval(() => { if (!document.hidden) look(); }, kLook);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  sampling.changed();
  document.documentElement.dataset.ready = "yes";
}

begin();
