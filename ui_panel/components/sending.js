// Sends a file from the browser straight to the bucket: in parts, several at a time, going on after a broken connection.
// The page's server only tells where each part goes (ui_panel/uploads.py); no byte of the file passes through it.
import {kept, language, tab} from './base.js';

const TRIES = 6;
const URLS_AT_ONCE = 24;
const wait = ms => new Promise(done => setTimeout(done, ms));

export class Refused extends Error {
  constructor(sentence, {status = 0, retryable = false} = {}) {
    super(sentence);
    this.status = status;
    this.retryable = retryable;
  }
}
export class Cancelled extends Error {}

async function door(method, path, body, signal) {
  const answer = await fetch(new URL(`door/${path}`, document.baseURI), {
    method,
    signal,
    headers: {'Content-Type': 'application/json', 'X-Lipswap-Page': '1', 'X-Lipswap-Language': language()},
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(told.sentence ?? `HTTP ${answer.status}`, {status: answer.status, retryable: told.is_retryable ?? true});
  return told;
}

/** A pick of the same file is known by these, so that it goes on where it stopped, even after a reload. */
const nameOf = (slot, file) => `upload.${slot}.${file.name}.${file.size}.${file.lastModified}`;

export class Sending {
  /** `tell` hears {sent, rate, left, state}; state is starting, sending, waiting, finishing. */
  constructor(slot, file, tell) {
    Object.assign(this, {slot, file, tell, sent: new Map(), requests: new Set(), isCancelled: false});
    this.aborting = new AbortController();
    this.began = performance.now();
    this.rates = [];
  }

  cancel() {
    this.isCancelled = true;
    this.aborting.abort();
    for (const request of this.requests) request.abort();
    kept.write(tab, nameOf(this.slot, this.file), null);
    if (this.plan?.upload_id) door('DELETE', `uploads/${this.plan.upload_id}`).catch(() => {});
  }

  /** Return the key under which the file lies, or throw Refused or Cancelled. */
  async run() {
    // What hangs in a connection that is gone is given up at once, and sent again when the browser is back online.
    const giveUp = () => { for (const request of this.requests) request.abort(); };
    window.addEventListener('offline', giveUp);
    try {
      this.told('starting');
      const resumed = await this.resumed();
      this.plan = resumed ?? await this.trying(() => this.ask('POST', 'uploads', {
        slot: this.slot, name: this.file.name, media_type: this.file.type, size: this.file.size,
      }));
      this.isResumed = resumed !== null;
      if (this.plan.way === 'parts') await this.parts();
      else await this.whole();
      kept.write(tab, nameOf(this.slot, this.file), null);
      return this.plan.key;
    } catch (error) {
      throw this.isCancelled ? new Cancelled() : error;
    } finally {
      window.removeEventListener('offline', giveUp);
    }
  }

  ask(method, path, body) { return door(method, path, body, this.aborting.signal); }

  /** Return the plan of an upload of this very file that was broken off, None when there is none that goes on. */
  async resumed() {
    const plan = kept.read(tab, nameOf(this.slot, this.file));
    if (!plan?.upload_id) return null;
    try {
      this.there = (await this.ask('POST', `uploads/${plan.upload_id}/parts`, {part_numbers: []})).uploaded;
      return plan;
    } catch {
      return null;
    }
  }

  async whole() {
    await this.trying(async () => {
      try {
        await this.put(this.plan, this.file, 1);
      } catch (error) {
        // The address has run out, or the bucket has lost it: a new one is asked for.
        if (error.status === 403) {
          this.plan = await this.ask('POST', 'uploads', {
            slot: this.slot, name: this.file.name, media_type: this.file.type, size: this.file.size,
          });
        }
        throw error;
      }
    });
  }

  async parts() {
    const {upload_id: id, part_count: count, part_bytes: bytes, parallel} = this.plan;
    kept.write(tab, nameOf(this.slot, this.file), this.plan);
    const there = new Set((this.there ?? []).map(part => part.part_number));
    for (const part of this.there ?? []) this.sent.set(part.part_number, part.size);
    const open = Array.from({length: count}, (_, at) => at + 1).filter(number => !there.has(number));
    const urls = new Map();
    let asking = null;
    const urlOf = async (number) => {
      while (!urls.has(number)) {
        asking ??= this.ask('POST', `uploads/${id}/parts`, {part_numbers: [number, ...open.slice(0, URLS_AT_ONCE)]})
          .then(answer => { for (const part of answer.parts) urls.set(part.part_number, part); })
          .finally(() => { asking = null; });
        await asking;
      }
      return urls.get(number);
    };
    const worker = async () => {
      while (open.length && !this.isCancelled) {
        const number = open.shift();
        const piece = this.file.slice((number - 1) * bytes, Math.min(this.file.size, number * bytes));
        await this.trying(async () => {
          try {
            await this.put(await urlOf(number), piece, number);
          } catch (error) {
            if (error.status === 403) urls.delete(number);
            throw error;
          }
        });
      }
    };
    await Promise.all(Array.from({length: Math.min(parallel, count)}, worker));
    this.told('finishing');
    await this.trying(() => this.ask('POST', `uploads/${id}/complete`, {}));
  }

  put({url, headers}, blob, number) {
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      this.requests.add(request);
      const end = (settle, value) => { this.requests.delete(request); settle(value); };
      request.open('PUT', url);
      for (const [name, value] of Object.entries(headers ?? {})) request.setRequestHeader(name, value);
      request.upload.onprogress = event => { this.sent.set(number, Math.min(event.loaded, blob.size)); this.told('sending'); };
      request.onload = () => {
        if (request.status < 300) { this.sent.set(number, blob.size); this.told('sending'); end(done); return; }
        this.sent.delete(number);
        end(fail, new Refused(`HTTP ${request.status}`, {status: request.status, retryable: request.status === 403 || request.status >= 500 || request.status === 429}));
      };
      request.onerror = () => { this.sent.delete(number); end(fail, new Refused('', {retryable: true})); };
      request.onabort = () => { this.sent.delete(number); end(fail, this.isCancelled ? new Cancelled() : new Refused('', {retryable: true})); };
      request.send(blob);
    });
  }

  /** Do it again after a broken connection: soon at first, then later, and at once when the browser is back online. */
  async trying(work) {
    for (let turn = 0; ; turn += 1) {
      try {
        return await work();
      } catch (error) {
        const retryable = !(error instanceof Refused) || error.retryable;
        if (this.isCancelled || error instanceof Cancelled || !retryable) throw error;
        if (navigator.onLine && turn >= TRIES) throw error;
        this.told('waiting');
        if (!navigator.onLine) {
          await new Promise(back => window.addEventListener('online', back, {once: true}));
          turn = 0;
        }
        await wait(Math.min(400 * 2 ** turn, 6000));
      }
    }
  }

  told(state) {
    const now = performance.now();
    const sent = Array.from(this.sent.values()).reduce((sum, bytes) => sum + bytes, 0);
    this.rates.push([now, sent]);
    while (this.rates.length > 2 && now - this.rates[0][0] > 5000) this.rates.shift();
    const [[then, before]] = this.rates;
    const rate = now > then ? Math.max(0, (sent - before) / ((now - then) / 1000)) : 0;
    if (state === 'sending' && now - (this.lastTold ?? 0) < 120 && sent < this.file.size) return;
    this.lastTold = now;
    this.tell({sent, rate, left: rate ? (this.file.size - sent) / rate : null, state});
  }
}
