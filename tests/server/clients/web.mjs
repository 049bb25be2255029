// SPDX-License-Identifier: MIT
// web.mjs FOLDER CHAT MODEL: the page without a server (examples/web) in Chromium, from a server of files. It says what the
// program CHAT says with the same model. CHROMIUM names the browser, SCREENSHOTS a folder for pictures.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:http';
import {tmpdir} from 'node:os';
import {extname, join} from 'node:path';
import {chromium} from 'playwright-core';

const [folder, chat, model] = process.argv.slice(2);
const size = name => statSync(join(folder, name)).size;
for (const name of ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads'].map(module => `bitnet-${module}.wasm`)) {
  assert.ok(size(name) <= 1.5e6, `${name} has ${size(name)} bytes`);
}
assert.ok(size('index.html') + size('local.js') + size('worker.js') <= 60e3, 'script and style are more than 60 KB');

// What is served: the folder, and a model under another name, slowly; isolated or not.
const types = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm', '.gguf': 'application/octet-stream'};
const asked = [];
const isolation = {'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp'};
let isIsolated = false, before = ''; // what stands before the worker's script
const files = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://here').pathname;
  asked.push(`${request.method} ${path}`);
  let body;
  try { body = readFileSync(path === '/more/second.gguf' ? model : join(folder, path === '/' ? 'index.html' : path)); }
  catch (missing) { response.writeHead(404).end(); return; }
  if (path === '/worker.js') body = Buffer.concat([Buffer.from(before), body]);
  response.writeHead(200, {...isIsolated ? isolation : {}, 'Content-Type': types[extname(path)] ?? types['.html'], 'Content-Length': body.length, 'Cache-Control': 'no-store'});
  if (request.method === 'HEAD') { response.end(); return; }
  if (path.startsWith('/more/')) {
    for (let i = 0; i < 8; ++i) {
      response.write(body.subarray(i * body.length / 8, (i + 1) * body.length / 8));
      await new Promise(resolve => setTimeout(resolve, 30));
    }
    response.end();
  } else {
    response.end(body);
  }
});
await new Promise(resolve => files.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${files.address().port}/`;

const scratch = mkdtempSync(join(tmpdir(), 'bitnet-web-'));
const said = (questions, ...options) => execFileSync(chat, ['-m', model, '-t', '1', ...options],
  {input: questions.map(question => question + '\n').join(''), encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore']});

const browser = await chromium.launch({executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox']});
const context = await browser.newContext({viewport: {width: 1000, height: 700}});
const page = await context.newPage();
const wrong = [];
page.on('pageerror', error => wrong.push(String(error)));
page.on('console', line => { if (line.type() === 'error') wrong.push(line.text()); });
context.on('request', request => { if (!request.url().startsWith(base) && !request.url().startsWith('data:')) wrong.push('asked ' + request.url()); });
const picture = async name => { if (process.env.SCREENSHOTS) await page.screenshot({path: `${process.env.SCREENSHOTS}/${name}.png`}); };
const answers = page.locator('.turn.assistant .text');
const isIdle = () => page.locator('#send', {hasText: 'Send'}).waitFor();
const set = async (name, value) => { await page.fill('#' + name, value); await page.locator('#' + name).blur(); };
const ask = async question => {
  const before = await answers.count();
  await page.fill('#question', question);
  await page.press('#question', 'Enter');
  await page.locator('.turn.assistant').nth(before).waitFor();
};
const answer = async question => {
  await ask(question);
  await isIdle();
  assert.equal(await page.locator('.error').count(), 0, await page.locator('.turn, #model_state').allTextContents() + '');
  return answers.last().textContent();
};
const openPage = async () => {
  await page.goto(base + '?threads=3');
  await page.locator('#model', {hasText: 'tiny'}).waitFor();
};

// The tiny model answers at once, by the module that this browser can run best, and by each other one: with threads where the page is
// isolated, with one where it is not, and where so much shared memory or a helper is refused. In the words of the native program,
// greedy and drawn, over two turns.
const questions = ['Who lived in the castle?', 'What did the king say to the dragon?'];
const noRelaxed = 'WebAssembly.validate = () => false;';
const noMemory = 'WebAssembly.Memory = class { constructor() { throw new RangeError("so much"); } };';
const noHelper = 'if (self.name === "helper") WebAssembly.instantiate = async () => { throw new Error("not here"); };';
for (const [isolated, script, by] of [[false, '', 'wasm_relaxed_simd, one thread'], [false, noRelaxed, 'wasm_simd128, one thread'],
  [true, noMemory, 'wasm_relaxed_simd, one thread'], [true, noHelper, 'wasm_relaxed_simd, one thread'],
  [true, noRelaxed, 'wasm_simd128, 3 threads'], [true, '', 'wasm_relaxed_simd, 3 threads']]) {
  [isIsolated, before] = [isolated, script];
  await openPage();
  await page.evaluate(() => localStorage.clear());
  await openPage();
  await page.click('#toggle');
  await page.locator('#model_state', {hasText: by}).waitFor();
  assert.equal(await page.evaluate('crossOriginIsolated'), isolated);
  await set('system', 'You tell fairy tales.');
  await set('temperature', '0');
  await set('max_tokens', '60');
  const native = said(questions, '-s', 'You tell fairy tales.', '--temp', '0', '-n', '60');
  const first = await answer(questions[0]);
  await page.locator('.turn.assistant .below', {hasText: 'tokens/s'}).waitFor();
  assert.ok(first.length > 40, first);
  assert.equal(first + '\n' + await answer(questions[1]) + '\n', native);
  await picture(by);
  await page.click('#new');
  await set('temperature', '');
  await set('seed', '8');
  assert.equal(await answer(questions[0]) + '\n', said(questions.slice(0, 1), '-s', 'You tell fairy tales.', '--seed', '8', '-n', '60'));
  await page.click('#new');
}

// An answer is stopped at once, goes no further, and the next one is not what was left of it.
await set('seed', '');
await set('temperature', '0');
await set('max_tokens', '');
await set('system', '');
await set('schema', '{"type":"array","items":{"type":"integer"},"minItems":400}');
await ask('Count.');
await page.waitForFunction(() => document.querySelector('.turn.assistant .text')?.textContent.length > 20);
const since = performance.now();
await page.keyboard.press('Escape');
await isIdle();
const took = performance.now() - since;
assert.ok(took < 1000, `it stopped after ${took} ms`);
await page.locator('.turn.assistant .below', {hasText: 'stopped'}).waitFor();
const stopped = await answers.first().textContent();
assert.throws(() => JSON.parse(stopped), 'it was not stopped');
assert.equal(page.workers().length, 3); // the worker and its helpers
assert.equal(await page.workers()[0].evaluate('last.then(() => library.ended_by())'), 4, 'the worker went on'); // BITNET_END_CANCELLED

// JSON by a schema, and schemas that are refused.
const schema = '{"type":"object","properties":{"mood":{"enum":["calm","angry"]},"guests":{"type":"array","items":{"type":"string","maxLength":12},"maxItems":3}},"required":["mood","guests"],"additionalProperties":false}';
await page.click('#new');
await set('max_tokens', '80');
await set('schema', schema);
writeFileSync(join(scratch, 'schema.json'), schema);
const json = await answer('How is the king?');
assert.match(JSON.parse(json).mood, /^(calm|angry)$/);
assert.equal(json + '\n', said(['How is the king?'], '--temp', '0', '-n', '80', '--json-schema', join(scratch, 'schema.json')));
await picture('schema');
await set('schema', '{"$ref":"#/nowhere"}');
await page.click('text=Regenerate');
await page.locator('.turn .error').waitFor();
await page.click('#new');
await set('schema', '');

// A model from a file; one that is broken is told of, and the model before it goes on.
const bytes = readFileSync(model);
const pick = (name, buffer) => page.setInputFiles('#model_file', {name, mimeType: 'application/octet-stream', buffer});
await pick('mine.gguf', bytes);
await page.locator('#model', {hasText: 'mine'}).waitFor();
const mine = await answer(questions[0]);
assert.equal(mine + '\n', said(questions.slice(0, 1), '--temp', '0', '-n', '80'));
for (const [name, buffer] of [['cut.gguf', bytes.subarray(0, bytes.length / 2)], ['text.gguf', Buffer.from('no model')], ['empty.gguf', Buffer.alloc(0)]]) {
  await pick(name, buffer);
  await page.locator('#model_state.error').waitFor();
  await picture('broken');
  assert.ok((await page.textContent('#model_state')).length > 20, await page.textContent('#model_state'));
  assert.equal(await page.textContent('#model'), 'mine');
  await page.evaluate(() => { document.getElementById('model_state').className = ''; });
}
await page.click('#new');
assert.equal(await answer(questions[0]), mine);
for (let i = 0; page.workers().length !== 3; ++i) { // helpers end with the worker that they help
  assert.ok(i < 100, `there are ${page.workers().length} workers`);
  await new Promise(resolve => setTimeout(resolve, 100));
}

// A model by its address, with progress; the browser keeps it, over a reload, too. Other addresses are refused.
await set('model_address', 'more/second.gguf');
await page.locator('#model_state', {hasText: '% of second'}).waitFor();
await page.locator('#model', {hasText: 'second'}).waitFor();
await page.reload();
await page.locator('#model', {hasText: 'second'}).waitFor();
assert.equal(asked.filter(one => one === 'GET /more/second.gguf').length, 1, 'it was not kept');
await page.click('#new');
assert.equal(await answer(questions[0]), mine);
await page.click('#toggle');
assert.deepEqual(wrong, []);
for (const address of ['http://other.example/x.gguf', 'none.gguf']) {
  await set('model_address', address);
  await page.locator('#model_state.error').waitFor();
  await page.evaluate(() => { document.getElementById('model_state').className = ''; });
}
assert.ok(wrong.every(text => text.includes('404')), wrong.join('\n')); // the console tells of the missing one

await browser.close();
files.close();
rmSync(scratch, {recursive: true});
console.log(`the page without a server says what the native program says; it stopped within ${took.toFixed(0)} ms`);
