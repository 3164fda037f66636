// How the page asks its server. Every slider's questions form a channel and are numbered; the server drops those
// that newer ones have overtaken (status 204), and an answer is shown only if none to a newer question was.
"use strict";

const tab = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

const kLong = 1000;  // milliseconds
/// Called with true when an answer takes longer than that, and with false when it is there.
let takesLong = () => {};

async function post(path, type, body) {
  let long = false;
  const timer = setTimeout(() => { long = true; takesLong(true); }, kLong);
  try {
    return await fetch(path, { method: "POST", headers: { "Content-Type": type }, body });
  } finally {
    clearTimeout(timer);
    if (long) takesLong(false);
  }
}

/// The answer to a question, as JSON or, with `whole`, as a blob; null where it is stale.
async function ask(path, question, whole = false) {
  const response = await post(path, "application/json", JSON.stringify(question));
  if (response.status === 204) return null;
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim());
  return whole ? response.blob() : response.json();
}

/// A picture's file sent to be encoded; `most`: the bytes that are taken.
async function upload(file, most) {
  if (file.size > most)
    throw new Refused(413, `${file.name}: ${(file.size / 1e6).toFixed(1)} MB; at most ${(most / 1e6).toFixed(1)} are taken`);
  let bytes = null;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    throw new Refused(0, file.name + ": cannot be read (any more)");
  }
  const response = await post("/api/pictures", "application/octet-stream", bytes);
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim().replace(/^the picture/, file.name));
  return response.json();
}

/// Questions of one kind, of which the newest counts. `make` says what to ask at the moment, null for nothing;
/// `show` gets the answer; `failed` what went wrong.
class Channel {
  constructor(path, make, show, failed) {
    Object.assign(this, { path, make, show, failed, name: tab + " " + path, number: 0, shown: 0, due: false });
  }

  /// Asks with the next frame: several changes within one are one question.
  changed() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.send();
    });
  }

  async send() {
    const question = this.make();
    if (question === null) return;
    const number = ++this.number;
    try {
      const answer = await ask(this.path, { ...question, channel: this.name, number });
      if (answer === null || number < this.shown) return;
      this.shown = number;
      this.show(answer);
    } catch (problem) {
      if (number === this.number) this.failed(problem);
    }
  }
}
