// SPDX-License-Identifier: MIT
// What bitnet-server costs over the scheduler that it is made of: tokens per second of streams that run together, beside
// bitnet-bench's figure for as many sequences of the same lengths, in turn with it; and how much later than the server
// chose the first token its text is at the client. Exits with 1 if a target is missed. Needs a quiet machine.
//     node tests/bench/server_overhead.mjs BUILD MODEL [STREAMS=8] [TOKENS=128] [THREADS=2] [ROUNDS=5] [OPTION...]
// OPTION...: of both programs, such as --head as-stored.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const most_overhead = 0.03;
const latest_ms = 5;
const [build, model, ...rest] = process.argv.slice(2);
const firstOption = rest.findIndex(word => word.startsWith('-'));
const numbers = (firstOption < 0 ? rest : rest.slice(0, firstOption)).map(Number);
const options = firstOption < 0 ? [] : rest.slice(firstOption);
const [streams = 8, tokens = 128, threads = 2, rounds = 5] = numbers;
const prompt_tokens = 16;
const median = values => values.slice().sort((a, b) => a - b)[values.length >> 1];
const scratch = mkdtempSync(join(tmpdir(), 'overhead-'));

const started = () => new Promise((done, failed) => {
    const context = prompt_tokens + tokens + 8;
    const server = spawn(`${build}/examples/bitnet-server`, ['-m', model, '--port', '0', '--parallel', streams, '-t', threads, '-c', context, ...options].map(String));
    let log = '';
    server.stderr.on('data', bytes => {
        log += bytes;
        const found = /http:\/\/([^ ,:]+):(\d+)\/v1/.exec(log);
        if (found) done({ server, host: found[1], port: Number(found[2]) });
    });
    server.on('exit', code => failed(new Error(`bitnet-server ended with ${code}: ${log}`)));
});

// One stream, read as it comes and understood when it has ended, so that this program takes little of the machine.
const streamed = (at, prompt, limit) => new Promise((done, failed) => {
    const body = JSON.stringify({ prompt, max_tokens: limit, temperature: 0, stream: true, stream_options: { include_usage: true } });
    const pieces = [];
    let asked;
    const socket = net.connect(at.port, at.host, () => {
        socket.setNoDelay(true);
        asked = performance.now();
        socket.write(`POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
    socket.on('data', bytes => pieces.push([performance.now(), bytes])).on('error', failed).on('close', () => {
        const times = []; // of events with text
        for (const [time, bytes] of pieces) {
            for (const _ of bytes.toString('latin1').matchAll(/"text":"[^"]/g)) times.push(time);
        }
        const text = Buffer.concat(pieces.map(piece => piece[1])).toString();
        const last = /\{[^\n]*"usage":[^\n]*/.exec(text);
        if (!last) return failed(new Error(`no stream: ${text.slice(0, 500)}`));
        const { usage, timings } = JSON.parse(last[0]);
        done({ asked, times, written: usage.completion_tokens, first_ms: timings.prompt_ms });
    });
});

// \return tokens per second while all streams were running
const speed = all => {
    if (all.some(each => each.times.length < 4)) throw new Error('tokens of this model are hardly text: its streams cannot be timed');
    const begin = Math.max(...all.map(each => each.times[0]));
    const end = Math.min(...all.map(each => each.times.at(-1)));
    const whole = Math.max(...all.map(each => each.times.at(-1))) - Math.min(...all.map(each => each.asked));
    if (end - begin < whole / 2) console.log('  the streams were together for less than half of the time: take more TOKENS, or a quieter machine');
    let made = 0;
    for (const { times, written } of all) made += times.filter(time => time > begin && time <= end).length * written / times.length;
    if (Math.min(...all.map(each => each.written)) < tokens) console.log('  a stream met a stop token: the window is smaller');
    return made / (end - begin) * 1000;
};

const scheduled = () => {
    const json = join(scratch, 'bench.json');
    execFileSync(`${build}/examples/bitnet-bench`, ['-m', model, '-p', 0, '-n', tokens, '-t', threads, '--sequences', streams, '-r', 3, '--json', json, ...options].map(String), { stdio: 'ignore' });
    const found = JSON.parse(readFileSync(json)).results.find(each => each.scheduler && each.batch === streams);
    return found.tokens_per_second.median;
};

const at = await started();
let missed = true;
try {
    const text = 'Once upon a time there was a king who lived in a castle by the sea, and his daughter sang. '.repeat(8);
    const reply = await fetch(`http://${at.host}:${at.port}/tokenize`, { method: 'POST', body: JSON.stringify({ content: text }) });
    const ids = (await reply.json()).tokens;
    let turn = 0;
    const prompt = () => { // another one each time, so that nothing of it is there
        const from = turn++ * 7;
        return Array.from({ length: prompt_tokens }, (_, i) => ids[(from + i) % ids.length]);
    };
    const together = limit => Promise.all(Array.from({ length: streams }, () => streamed(at, prompt(), limit)));
    await together(8); // all sessions are open, all code has run

    const delays = [];
    for (let i = 0; i < 40; ++i) {
        const { asked, times, first_ms } = await streamed(at, prompt(), 4);
        if (times.length !== 0) delays.push(times[0] - asked - first_ms); // four tokens may be no whole character
    }
    const shares = [];
    for (let i = 0; i < rounds; ++i) {
        const served = speed(await together(tokens));
        const alone = scheduled();
        shares.push(1 - served / alone);
        console.log(`  round ${i + 1}: ${served.toFixed(1)} tokens/s served, ${alone.toFixed(1)} by the scheduler alone`);
    }
    const overhead = median(shares);
    const delay = median(delays);
    console.log(`overhead of ${streams} streams, median of ${rounds}: ${(overhead * 100).toFixed(1)} % (target: at most ${most_overhead * 100} %)`);
    console.log(`text of the first token after its choice, with the way of the request: median ${delay.toFixed(2)} ms, ` +
        `worst of ${delays.length} ${Math.max(...delays).toFixed(2)} ms (target: ${latest_ms} ms)`);
    missed = overhead > most_overhead || delay > latest_ms;
} finally {
    at.server.removeAllListeners('exit');
    at.server.kill();
    rmSync(scratch, { recursive: true });
}
process.exit(missed ? 1 : 0);
