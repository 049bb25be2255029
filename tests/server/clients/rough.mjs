// SPDX-License-Identifier: MIT
// Clients that vanish, read slowly, or send what is no request: node rough.mjs BASE_URL [BODIES]. SERVER_PID names the
// server's process, whose memory is looked at where /proc tells it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { run } from './checks.mjs';

const baseURL = process.argv[2];
const bodies = Number(process.argv[3] ?? 2000);
const { hostname, port } = new URL(baseURL);
const messages = [{ role: 'user', content: 'Who lived in the castle?' }];
const long = { messages, max_tokens: 400, n: 4, stream: true };

// Random numbers from a fixed seed (the generator of Numerical Recipes).
let state = 1;
const below = end => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 16) % end;

const sleep = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const metrics = async () => {
    const text = await fetch(`${baseURL}/metrics`).then(reply => reply.text());
    return name => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)[1]);
};
// All that was asked is over, and soon.
const idle = async () => {
    for (let patience = 100; patience > 0; --patience) {
        const of = await metrics();
        if (of('bitnet_requests_active') === 0 && of('bitnet_requests_waiting') === 0) return of;
        await sleep(20);
    }
    assert.fail('a request of a client that went away goes on');
};
const resident = async () => {
    const status = await readFile(`/proc/${process.env.SERVER_PID}/status`, 'utf8').catch(() => 'VmRSS: 0 kB');
    return Number(/VmRSS:\s*(\d+) kB/.exec(status)[1]);
};
const request = body => {
    const text = JSON.stringify(body);
    return `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
};
// Sends a text; \return all that came until the other end closed. `each` is called after each piece.
const said = (text, each = () => {}) => new Promise(done => {
    const got = [];
    const socket = net.connect(Number(port), hostname, () => socket.write(text));
    const end = () => done(Buffer.concat(got).toString());
    socket.on('data', bytes => { got.push(bytes); each(socket, got.length); }).on('close', end).on('error', end);
});
// Politely or not, after some pieces of the stream.
const vanish = (pieces, politely) => said(request(long), (socket, count) => {
    if (count > pieces) politely ? socket.destroy() : socket.resetAndDestroy();
});

const seeds = [
    ['chat/completions', { messages, max_tokens: 2, temperature: 0.5, top_p: 0.9, seed: 7, stop: ['x', 'yz'], stream: true }],
    ['chat/completions', { messages: [{ role: 'system', content: 's' }, { role: 'user', content: [{ type: 'text', text: 'é' }] }], max_tokens: 2, n: 2, logprobs: true, top_logprobs: 1, logit_bias: { 5: -100 } }],
    ['chat/completions', { messages, max_tokens: 40, tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] } } }], tool_choice: 'required' }],
    ['chat/completions', { messages, max_tokens: 20, response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { enum: ['calm', 'angry'] } } } }],
    ['completions', { prompt: ['Once', 'upon'], max_tokens: 3, echo: true, logprobs: 2, stop: 'z', stream: false }],
    ['completions', { prompt: [5, 6, 7], max_tokens: 3, stream: true, stream_options: { include_usage: true } }],
    ['embeddings', { input: ['hello', 'king'], encoding_format: 'base64' }],
    ['tokenize', { content: 'hello', add_special: true }],
    ['detokenize', { tokens: [5, 6, 7] }],
].map(([path, body]) => [path, Buffer.from(JSON.stringify(body))]);
const pieces = ['"', '{', '}', '[', ']', ',', ':', '0', '-1', '1e9', 'null', 'true', '\\', '\xff', '\n', '\\u0000'].map(each => Buffer.from(each, 'latin1'));
const changed = bytes => {
    for (let left = 1 + below(4); left !== 0 && bytes.length !== 0; --left) {
        const at = below(bytes.length);
        const end = Math.min(at + 1 + below(8), bytes.length);
        const put = (from, what, to) => { bytes = Buffer.concat([bytes.subarray(0, from), what, bytes.subarray(to)]); };
        const way = below(4);
        if (way === 0) put(at, Buffer.alloc(0), end);
        else if (way === 1) put(at, pieces[below(pieces.length)], at);
        else if (way === 2) put(at, Buffer.from([below(256)]), at + 1);
        else put(at, bytes.subarray(at, end), at);
    }
    return bytes;
};
// \return the status
const judged = async (path, body) => {
    const reply = await fetch(`${baseURL}/${path}`, { method: 'POST', body });
    const text = await reply.text();
    if (reply.headers.get('content-type').startsWith('text/event-stream')) {
        const events = text.split('\n\n').filter(event => event !== '' && !event.startsWith(':'));
        assert.ok(events.every(event => event.startsWith('data: ')));
        const last = events.pop();
        events.forEach(event => JSON.parse(event.slice(6)));
        assert.ok(last === 'data: [DONE]' || 'error' in JSON.parse(last.slice(6)));
    } else if (reply.status === 200) {
        assert.equal(typeof JSON.parse(text), 'object');
    } else {
        assert.ok(reply.status >= 400 && reply.status < 500, `status ${reply.status}`);
        const { error } = JSON.parse(text);
        assert.ok(error.message.length > 5);
        assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
    }
    return reply.status;
};

await run({
    async 'clients that vanish 200 times in a stream: nothing goes on, and nothing is kept'() {
        for (let i = 0; i < 40; ++i) await vanish(i % 4, i % 2);
        const before = await idle();
        const memory = await resident();
        const clients = Array.from({ length: 4 }, async () => { for (let i = 0; i < 50; ++i) await vanish(below(5), below(2)); });
        await Promise.all(clients);
        const after = await idle();
        const cancelled = after('bitnet_requests_cancelled_total') - before('bitnet_requests_cancelled_total');
        assert.equal(after('bitnet_requests_total') - before('bitnet_requests_total'), 200);
        assert.ok(cancelled >= 190, `${cancelled} were cancelled`); // an answer may end in that moment
        assert.ok(await resident() - memory < 4096, `${memory} kB were ${await resident()} after it`);
    },
    async 'a client that reads slowly gets all, and others do not wait for it'() {
        const asked = { ...long, logprobs: true, top_logprobs: 20, temperature: 0 };
        let read = false;
        const slow = said(request(asked), (socket, count) => {
            socket.pause();
            setTimeout(() => socket.resume(), count === 1 ? 500 : 2);
        }).then(text => { read = true; return text; });
        await sleep(50);
        for (let i = 0; i < 3; ++i) assert.equal(await judged('chat/completions', JSON.stringify({ messages, max_tokens: 2 })), 200);
        assert.ok(!read);
        const text = await slow;
        assert.match(text, /data: \[DONE\]\n\n\r\n0\r\n\r\n$/);
        assert.equal(text.match(/"finish_reason":"(length|stop)"/g).length, 4);
        await idle();
    },
    async 'clients whose request never ends'() {
        const sockets = Array.from({ length: 8 }, () => net.connect(Number(port), hostname).on('error', () => {}));
        sockets.forEach((socket, i) => socket.write(request(long).slice(0, 10 + 15 * i)));
        assert.equal(await judged('chat/completions', JSON.stringify({ messages, max_tokens: 2 })), 200);
        sockets.forEach(socket => socket.destroy());
    },
    async 'bytes that are no HTTP, and hosts that are not this one'() {
        assert.match(await said('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*"invalid_request_error"/);
        assert.match(await said(`GET / HTTP/1.1\r\nX: ${'a'.repeat(20000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
        assert.match(await said('GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 403 /);
        assert.match(await said('HEAD /health HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n$/);
    },
    async [`${bodies} changed bodies: an answer, or an error as JSON`]() {
        const count = { answered: 0, refused: 0 };
        const all = Array.from({ length: bodies }, (_, i) => [i, seeds[i % seeds.length][0], changed(seeds[i % seeds.length][1])]);
        const client = async () => {
            for (let next = all.pop(); next; next = all.pop()) {
                const [i, path, body] = next;
                const status = await judged(path, body).catch(error => assert.fail(`body ${i} to ${path}: ${error.stack}\n${body}`));
                ++count[status === 200 ? 'answered' : 'refused'];
            }
        };
        await Promise.all(Array.from({ length: 8 }, client));
        console.log(`       ${count.answered} answered, ${count.refused} refused`);
        assert.ok(count.answered > bodies / 20 && count.refused > bodies / 5);
        await idle();
    },
});
