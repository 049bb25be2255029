// SPDX-License-Identifier: MIT
// The library in a worker of its own, which local.js talks to: one model, of which no byte leaves the browser.
'use strict';

// Takes {open: address or File, threads: how many at most} once, then {ask: a chat request of OpenAI's, with chat_format as bitnet-chat has it,
// id: a number that rises} and {stop: the id}. Says {progress}, {opened}, and with the id {chunk: of a streamed answer}, {ended}, {refused: sentence}, or {dead: sentence}
// when it can do no more. To workers like itself it says {help}: they run pieces of its loops from then on, and nothing else.
const cacheName = 'bitnet.models';
const budget = 12000;  // microseconds between two looks at whether to stop
let library = null;    // what module.c exports
let memory = null;     // the module's; shared with the helpers if it has several threads
let helpers = [];      // workers
let origin = performance.timeOrigin; // of the time that all threads of a module tell
let dialog = '';       // the settings that the dialog was begun with
let stopped = 0;       // the last id that is not to go on

// What the module asks of its system: a clock, and a place for a last word.
let lastWords = '';
const view = () => new DataView(memory.buffer);
// A copy of bytes of the module's: what is decoded or filled by others must not be shared.
const bytesAt = (place, bytes) => new Uint8Array(memory.buffer, place >>> 0, bytes).slice();
const system = {
  clock_time_get(clock, precision, out) {
    const now = clock === 0 ? Date.now() : performance.timeOrigin - origin + performance.now();
    view().setBigUint64(out, BigInt(Math.round(now * 1e6)), true);
    return 0;
  },
  fd_write(file, pieces, count, out) {
    let all = 0;
    for (let i = 0; i < count; ++i) {
      const bytes = view().getUint32(pieces + 8 * i + 4, true);
      lastWords += new TextDecoder().decode(bytesAt(view().getUint32(pieces + 8 * i, true), bytes));
      all += bytes;
    }
    view().setUint32(out, all, true);
    return 0;
  },
  fd_close: () => 8, fd_read: () => 8, fd_seek: () => 8, // no such file
  random_get(out, bytes) {
    new Uint8Array(memory.buffer, out, bytes).set(crypto.getRandomValues(new Uint8Array(bytes)));
    return 0;
  },
  proc_exit(code) { throw new Error('the module has ended with ' + code); }
};

// Whether a function that has the relaxed dot product of bytes is one.
const hasRelaxedSimd = WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 15, 1, 13, 0, 65, 0, 253, 15, 65, 0, 253, 15, 253, 146, 2, 11]));

async function compiled(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}
async function start(module) {
  const instance = await WebAssembly.instantiate(module, {wasi_snapshot_preview1: system, env: {memory}});
  library = instance.exports;
  memory ??= library.memory;
}

// Resolves when the helper is about to work.
function newHelper(task) {
  return new Promise((resolve, reject) => {
    const helper = new Worker('worker.js', {name: 'helper'});
    helpers.push(helper);
    helper.onmessage = ({data}) => data.refused ? reject(new Error(data.refused)) : resolve();
    helper.onerror = event => { event.preventDefault?.(); reject(new Error(event.message || 'a helper cannot be loaded')); };
    helper.postMessage({help: task});
  });
}
async function help({module, shared, place, bytes, since}) {
  memory = shared;
  origin = since;
  try { await start(module); }
  catch (failure) { postMessage({refused: failure.message}); return; }
  library.__stack_pointer.value = place + bytes;
  postMessage({helping: true});
  try { library.work(); }
  catch (failure) { library.give_up(); } // the worker that it helps traps, too, and tells of it
}

// The module for threads. Its memory may grow to all that 32 bits address: browsers set addresses aside for that, and may refuse.
async function loadShared(name, threads) {
  const bytes = 2 ** 18; // of a stack, as in `build`: what a helper runs, the first thread runs upon more than that
  memory = new WebAssembly.Memory({initial: 64, maximum: 65536, shared: true});
  const module = await compiled(`${name}-threads.wasm`);
  await start(module);
  library._initialize();
  await Promise.all(Array.from({length: threads - 1}, () => {
    const place = library.reserve(bytes) >>> 0;
    if (!place) throw new Error('no memory for a stack');
    return newHelper({module, shared: memory, place, bytes, since: origin});
  }));
  library.share(threads);
}

// Returns the number of threads. Where a page is not isolated, or anything fails, it is one.
async function load(threads) {
  const name = `bitnet-${hasRelaxedSimd ? 'relaxed' : 'simd128'}`;
  if (threads > 1 && globalThis.crossOriginIsolated) {
    try { await loadShared(name, threads); return threads; }
    catch (refused) { helpers.forEach(helper => helper.terminate()); }
  }
  memory = null;
  await start(await compiled(`${name}.wasm`));
  library._initialize();
  return 1;
}

function ended(address) {
  const all = new Uint8Array(memory.buffer);
  return new TextDecoder().decode(all.slice(address >>> 0, all.indexOf(0, address >>> 0)));
}
function checked(code) {
  if (code < 0) throw new Error(ended(library.message()));
  return code;
}
// Calls with texts, each ended by a 0, which are the module's for this call alone. null is a null pointer.
function withTexts(texts, call) {
  const places = texts.map(text => {
    if (text === null) return 0;
    if (text.includes('\0')) throw new Error('a text has a character of code 0');
    const bytes = new TextEncoder().encode(text);
    const place = library.reserve(bytes.length + 1) >>> 0;
    if (!place) throw new Error('no memory for a text of ' + bytes.length + ' bytes');
    new Uint8Array(memory.buffer, place, bytes.length + 1).set([...bytes, 0]);
    return place;
  });
  try { return call(...places); }
  finally { for (const place of places) library.discard(place); }
}

// Room for a file in the module's memory, filled piece by piece.
function roomFor(bytes, what) {
  const place = bytes < 2 ** 31 - 2 ** 16 ? library.reserve(bytes) >>> 0 : 0;
  if (!place) throw new Error(`${what}: ${(bytes / 1e6).toFixed(0)} MB are more than the module's memory has room for`);
  let at = 0, told = -1;
  return {
    place, bytes,
    put(piece) {
      if (at + piece.length > bytes) throw new Error(`${what}: more bytes come than the ${bytes} that were announced`);
      new Uint8Array(memory.buffer, place + at, piece.length).set(piece);
      at += piece.length;
      const percent = Math.floor(100 * at / bytes);
      if (percent !== told) postMessage({progress: told = percent});
    },
    end() { if (at !== bytes) throw new Error(`${what}: ends after ${at} of ${bytes} bytes`); }
  };
}

async function fill(stream, room, keep) {
  const reader = stream.getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    room.put(value);
    await keep?.write(value);
  }
  room.end();
}

// What tells one version of a file from another, without reading it.
const stamp = response => ['etag', 'last-modified', 'content-length'].map(name => response.headers.get(name)).join();

// A file of this folder's server: from the browser's cache if that has this version of it, or if the server is out of reach.
async function fetchModel(address) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin) throw new Error(`${address}: models come from ${location.origin} alone, or from a file`);
  const cache = await globalThis.caches?.open(cacheName).catch(() => undefined);
  const kept = await cache?.match(url);
  if (kept) {
    const now = await fetch(url, {method: 'HEAD'}).catch(() => null);
    if (!now?.ok || stamp(now) === kept.headers.get('x-stamp')) {
      const room = roomFor(Number(kept.headers.get('x-bytes')), address);
      await fill(kept.body, room);
      return room;
    }
    await cache.delete(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${address}: the server answers ${response.status}`);
  const announced = response.headers.get('content-encoding') ? null : response.headers.get('content-length');
  if (!announced) { // all of it has to come first
    const bytes = new Uint8Array(await response.arrayBuffer());
    const room = roomFor(bytes.length, address);
    room.put(bytes);
    return room;
  }
  const room = roomFor(Number(announced), address);
  const {readable, writable} = new TransformStream();
  const headers = {'x-stamp': stamp(response), 'x-bytes': announced};
  let writer = cache ? writable.getWriter() : null;
  const storing = cache?.put(url, new Response(readable, {headers})).catch(() => { writer = null; }); // a full disk keeps nothing
  try {
    await fill(response.body, room, {write: piece => writer?.write(piece).catch(() => { writer = null; })});
    await writer?.close().catch(() => { });
  } catch (failure) {
    await writer?.abort(failure).catch(() => { });
    throw failure;
  }
  await storing;
  return room;
}

async function open(source, most) {
  const threads = await load(most);
  let room;
  if (typeof source === 'string') {
    room = await fetchModel(source);
  } else {
    room = roomFor(source.size, source.name);
    await fill(source.stream(), room);
  }
  checked(library.open_model(room.place, room.bytes));
  postMessage({opened: {isa: ended(library.isa()), module: hasRelaxedSimd ? 'relaxed' : 'simd128', threads}});
}

// The dialog as far as it is there already stays; a seed, and other settings than before, begin a new one.
function tell(body) {
  const schema = body.response_format ? JSON.stringify(body.response_format.json_schema.schema) : null;
  const wanted = [body.temperature ?? -1, body.top_p ?? -1, body.top_k ?? 2 ** 32 - 1, body.max_tokens ?? 0];
  const format = body.chat_format ?? null;
  const settings = JSON.stringify([wanted, body.seed, schema, format]);
  if (settings !== dialog || body.seed !== undefined) {
    const seed = body.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    dialog = '';
    withTexts([schema, format], (...texts) => checked(library.begin(...wanted, seed, ...texts)));
    dialog = settings;
  }
  body.messages.forEach(({role, content}, index) =>
    withTexts([role, content], (a, b) => checked(library.tell(index, a, b))));
  checked(library.ask());
}

// Lets messages in that have come meanwhile.
const {port1, port2} = new MessageChannel();
let goOn = null;
port1.onmessage = () => goOn();
const breathe = () => new Promise(resolve => { goOn = resolve; port2.postMessage(0); });

async function ask(body, id) {
  const chunk = (delta, finish_reason) => postMessage(
    {id, chunk: {choices: [{index: 0, delta, finish_reason}], usage: {completion_tokens: library.tokens()}}});
  tell(body);
  for (let state = 1; state !== 0;) {
    await breathe();
    if (id <= stopped) library.stop();
    state = checked(library.step(budget));
    const bytes = bytesAt(library.text(), library.text_bytes());
    if (bytes.length) chunk({content: new TextDecoder().decode(bytes)}, null);
  }
  const isLong = [3, 5].includes(library.ended_by()); // BITNET_END_LIMIT, BITNET_END_CONTEXT_FULL
  chunk({}, isLong ? 'length' : 'stop');
}

// A module that has trapped, as without memory, is not to be called again.
function tellFailure(id, failure) {
  if (failure instanceof WebAssembly.RuntimeError) {
    postMessage({id, dead: `the module has failed: ${lastWords || failure.message}; it may have run out of memory`});
  } else {
    postMessage({id, refused: failure.message});
  }
}

let last = Promise.resolve(); // what is asked meanwhile waits
onmessage = ({data}) => {
  if (data.help) return help(data.help);
  if (data.stop) { stopped = data.stop; return; }
  last = last.then(() => data.open ? open(data.open, data.threads) : ask(data.ask, data.id))
    .then(() => postMessage({id: data.id, ended: true}), failure => tellFailure(data.id, failure));
};
