// Builds the Worker into build/, if anything that it is made of has changed. wrangler.toml names
// this as its build command, so it also runs the set-up.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { at, main, must, say, seconds, withLock } from './process.mjs';
import { setup } from './setup.mjs';

const INPUTS = [
  'src', 'integrations', 'schemas', 'docs/errors.md', 'build.rs', 'Cargo.toml', 'rust-toolchain.toml', '.cargo',
  'scripts/build.mjs', 'scripts/tools.mjs',
];
const OUTPUTS = ['index.js', 'index_bg.wasm'];
const LIMIT = 1.5 * 1024 * 1024;

// Inside build/, so that it goes away with what it describes.
const stamp = at('build', '.inputs.json');

/** `ready` is the environment of a set-up that has been done already. */
export async function build(ready) {
  if (isCurrent()) return checkSize();
  const env = ready ?? await setup();
  await withLock(at('target', 'patchbay-build.lock'), async () => {
    if (!isCurrent()) await compile(env);
  });
  checkSize();
}

async function compile(env) {
  const start = Date.now();
  // Taken first: a file saved during the build must lead to another one.
  const sources = hashOf(INPUTS);
  // RUN_TO_COMPLETION keeps a request's work alive when its sender hangs up.
  await must(env.WORKER_BUILD_BIN, ['--release'], { env: { ...env, RUN_TO_COMPLETION: '1', RUST_BACKTRACE: '0' }, output: 'show' });
  // worker-build keeps the names of functions, a sixteenth of the bundle. A panic's place is in its message.
  const wasm = at('build', 'index_bg.wasm');
  await must(env.WASM_OPT_BIN, [wasm, '-o', wasm, '--all-features', '--strip-debug'], { env });
  writeFileSync(stamp, JSON.stringify({ sources, lock: lockHash(), ...sizes() }));
  const built = readStamp();
  say(`built the Worker (${seconds(start)}): wasm ${kib(built.wasm)}, bundle ${kib(built.gzipped)} gzipped`);
}

function isCurrent() {
  const built = readStamp();
  return OUTPUTS.every((name) => existsSync(at('build', name)))
    && built?.sources === hashOf(INPUTS) && built.lock === lockHash();
}

// Apart from the others, since the build itself may write it.
const lockHash = () => hashOf(['Cargo.lock']);

function readStamp() {
  try { return JSON.parse(readFileSync(stamp, 'utf8')); } catch { return undefined; }
}

function sizes() {
  const [script, wasm] = OUTPUTS.map((name) => readFileSync(at('build', name)));
  const gzipped = gzipSync(script, { level: 9 }).length + gzipSync(wasm, { level: 9 }).length;
  return { wasm: wasm.length, gzipped };
}

function checkSize() {
  const { gzipped } = readStamp();
  if (gzipped > LIMIT) throw new Error(`the bundle has ${kib(gzipped)} gzipped, more than the limit of ${kib(LIMIT)}`);
}

const kib = (bytes) => `${(bytes / 1024).toFixed(0)} KiB`;

/** One hash over names and contents of the files and folders given, relative to the repository. */
export function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths.filter((path) => existsSync(at(path)))) {
    for (const file of files(path)) hash.update(`${file}\0`).update(readFileSync(at(file))).update('\0');
  }
  return hash.digest('hex');
}

function files(path) {
  if (!statSync(at(path)).isDirectory()) return [path];
  return readdirSync(at(path)).filter(isInput).sort().flatMap((name) => files(join(path, name)));
}

// Fixtures and prose never reach the wasm: build.rs makes tests of the first alone.
const isInput = (name) => name !== 'fixtures' && name !== 'calls' && !name.endsWith('.md');

await main(import.meta.url, () => build());
