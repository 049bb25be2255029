// SPDX-License-Identifier: MIT
// Runs a WASI module with its arguments in Node, the whole file system open to it: node run_wasi.mjs test.wasm ...
import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const [module, ...rest] = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args: [module, ...rest], preopens: { '/': '/' }, returnOnExit: true });
const imports = { wasi_snapshot_preview1: wasi.wasiImport };
const { instance } = await WebAssembly.instantiate(await readFile(module), imports);
process.exitCode = wasi.start(instance);
