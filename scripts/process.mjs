// What every script needs: the repository's folder, running a program, one line of news, a lock.
import { spawn } from 'node:child_process';
import { closeSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
export const at = (...parts) => join(root, ...parts);
export const bin = at('node_modules', '.bin');

export const say = (line) => console.log(`patchbay: ${line}`);
export const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/**
 * Runs a program to its end; never throws. `output`: 'show' passes it through, 'hide' keeps it,
 * 'tee' does both. `limit` is in seconds. A program that cannot be started has code 127, one that
 * ran out of time 124.
 */
export function run(command, args, { env = process.env, cwd = root, output = 'hide', limit } = {}) {
  return new Promise((resolve) => {
    const stdio = output === 'show' ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'];
    const child = spawn(command, args, { env, cwd, stdio });
    let text = '';
    let late = false;
    const keep = (to) => (chunk) => {
      text += chunk;
      if (output === 'tee') to.write(chunk);
    };
    child.stdout?.setEncoding('utf8').on('data', keep(process.stdout));
    child.stderr?.setEncoding('utf8').on('data', keep(process.stderr));
    const timer = limit && setTimeout(() => { late = true; child.kill('SIGKILL'); }, limit * 1000);
    child.on('error', (error) => { clearTimeout(timer); resolve({ code: 127, text: error.message }); });
    child.on('close', (code) => { clearTimeout(timer); resolve({ code: late ? 124 : code ?? 1, text }); });
  });
}

/** As `run`, for what must succeed: gives the trimmed output, or throws with its last lines. */
export async function must(command, args, options) {
  const { code, text } = await run(command, args, options);
  if (code !== 0) throw new Error(`\`${command} ${args.join(' ')}\` failed (${code})\n${lastLines(text, 25)}`);
  return text.trim();
}

/** What a Rust program says went wrong, without its causes and stack. */
export const errorLine = ({ code, text }) => /^error: (.*)/m.exec(text)?.[1] ?? `code ${code}`;

export const lastLines = (text, count) => text.trim().split('\n').slice(-count).join('\n');

/** Runs a script's job; a failure is one message and exit code 1, without a stack. */
export async function main(url, job) {
  if (url !== pathToFileURL(process.argv[1]).href) return;
  try {
    await job();
  } catch (error) {
    console.error(`patchbay: ${error.message}`);
    process.exitCode = 1;
  }
}

/** Runs `job` while no other process on this machine runs one under the same lock file. */
export async function withLock(file, job) {
  mkdirSync(dirname(file), { recursive: true });
  for (let told = false; !take(file);) {
    if (isStale(file)) {
      drop(file);
      continue;
    }
    if (!told) say(`waiting for process ${holder(file)}, which does the same`);
    told = true;
    await sleep(200);
  }
  try {
    return await job();
  } finally {
    rmSync(file, { force: true });
  }
}

function take(file) {
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function holder(file) {
  try { return Number(readFileSync(file, 'utf8')); } catch { return 0; }
}

function isStale(file) {
  const pid = holder(file);
  try {
    // A process that has just made the file may not have written its number yet.
    if (pid === 0) return Date.now() - statSync(file).mtimeMs > 5_000;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** Takes a dead process's lock away; gives it back if a living one took it in between. */
function drop(file) {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
    if (!isStale(aside)) linkSync(aside, file);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  }
  rmSync(aside, { force: true });
}
