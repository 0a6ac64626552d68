// Schemathesis, which fuzzes the HTTP API from its document: a Python program, in an environment of its own in the cache.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, lastLines, run, say, seconds, withLock } from './process.mjs';
import { cache } from './tools.mjs';

// Every package at the version that was tried.
const PACKAGES = at('scripts', 'schemathesis.txt');

/** The program's path; undefined, with a line that says why, where Python cannot make it ready. */
export async function schemathesis() {
  const wanted = createHash('sha256').update(readFileSync(PACKAGES)).digest('hex').slice(0, 16);
  const folder = join(cache, 'python', `schemathesis-${wanted}`);
  const done = join(folder, 'done');
  mkdirSync(join(cache, 'python'), { recursive: true });
  await withLock(join(cache, 'python.lock'), async () => {
    if (!existsSync(done)) await install(folder, done);
  });
  return existsSync(done) ? join(folder, 'bin', 'st') : undefined;
}

async function install(folder, done) {
  const start = Date.now();
  // What a run that was killed left behind.
  rmSync(folder, { recursive: true, force: true });
  const made = await run('python3', ['-m', 'venv', folder]);
  if (made.code !== 0) return say(`schemathesis needs python3 with venv and pip (${lastLines(made.text, 1)})`);
  const packages = await run(join(folder, 'bin', 'pip'), ['install', '--quiet', '--requirement', PACKAGES], { limit: 600 });
  if (packages.code !== 0) return say(`schemathesis could not be installed: ${lastLines(packages.text, 3)}`);
  writeFileSync(done, '');
  say(`installed schemathesis (${seconds(start)})`);
}
