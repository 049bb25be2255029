// SPDX-License-Identifier: MIT
// web_speed.mjs FOLDER MODEL [TOKENS [THREADS [CHAT_FORMAT]]]: how fast the worker of the page without a server (examples/web) writes, in
// Node, by the module for one thread or, as on a page that is isolated, by that for several. With node --experimental-wasm-relaxed-simd
// it takes the modules for relaxed SIMD, else those for SIMD128. Beside it:
//     bitnet-bench -m MODEL -t 1 --isa sse41
import {openAsBlob, readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import vm from 'node:vm';
import * as node from 'node:worker_threads';

const [folder, model, tokens = '200', threads = '1', chat_format] = process.argv.slice(2);
// A worker of a browser's, of what worker.js asks of one.
globalThis.Worker = class {
  constructor(name) {
    this.thread = new node.Worker(`const {parentPort, workerData} = require('node:worker_threads');
      globalThis.onmessage = null;
      globalThis.postMessage = data => parentPort.postMessage(data);
      parentPort.on('message', data => globalThis.onmessage({data}));
      require('node:vm').runInThisContext(workerData.code, {filename: workerData.name});`,
    {eval: true, workerData: {name, code: readFileSync(join(folder, name), 'utf8')}});
    this.thread.on('message', data => this.onmessage({data}));
    this.thread.on('error', failure => this.onerror(failure));
  }
  postMessage(data) { this.thread.postMessage(data); }
  terminate() { this.thread.terminate(); }
};
globalThis.crossOriginIsolated = true;

let said = () => { };
globalThis.onmessage = null;
globalThis.postMessage = data => said(data);
globalThis.fetch = async name => new Response(readFileSync(join(folder, name)));
vm.runInThisContext(readFileSync(join(folder, 'worker.js'), 'utf8'), {filename: 'worker.js'});

function tell(data, each = () => { }) {
  return new Promise((resolve, reject) => {
    let last;
    said = answer => {
      if (answer.refused || answer.dead) reject(new Error(answer.refused ?? answer.dead));
      if (answer.ended) resolve(last);
      last = answer.opened ?? answer.chunk ?? last;
      each(answer);
    };
    globalThis.onmessage({data});
  });
}

const file = await openAsBlob(model);
file.name = basename(model);
const opened = await tell({open: file, threads: Number(threads)});
if (opened.threads !== Number(threads)) throw new Error(`no ${threads} threads were to be had`);
// What the first answer takes is not timed: the modules are compiled again, better, while they run.
async function write(id, content, most) {
  let first = null, before = 0;
  const ask = {messages: [{role: 'user', content}], temperature: 0, max_tokens: most, chat_format};
  const last = await tell({ask, id}, ({chunk}) => {
    if (chunk && !first) { first = [performance.now(), process.cpuUsage().user]; before = chunk.usage.completion_tokens; }
  });
  return [last.usage.completion_tokens - before, performance.now() - first[0], (process.cpuUsage().user - first[1]) / 1000];
}
const sum = [0, 0, 0];
for (let id = 1; sum[0] < Number(tokens); ++id) {
  const took = await write(id, `Tell me story number ${id}.`, Number(tokens));
  if (id > 1) took.forEach((value, i) => { sum[i] += value; });
}
const rate = milliseconds => (1000 * sum[0] / milliseconds).toFixed(1);
console.log(`${opened.isa}, ${opened.threads} threads: ${rate(sum[1])} tokens/s, ${rate(sum[2])} per second of CPU time, of ${sum[0]} tokens`);
process.exit();
