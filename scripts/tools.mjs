// The two build tools that are Rust programs, at exactly the versions the build needs, in a cache
// that all clones of one user share.
import { existsSync, copyFileSync, chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { at, must, run, say, seconds } from './process.mjs';

export const cache = process.env.PATCHBAY_CACHE
  || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'patchbay');

const WORKER_BUILD = { name: 'worker-build', crate: 'worker-build', version: '0.8.7', optimise: '0' };

// It reads and writes megabytes of wasm, so it is worth a little optimisation.
const wasmBindgen = () => ({ name: 'wasm-bindgen', crate: 'wasm-bindgen-cli', version: lockedVersion('wasm-bindgen'), optimise: '1', release: wasmBindgenRelease });

/** Paths of the tools, installed where they are missing: `{ workerBuild, wasmBindgen }`. */
export async function tools(env) {
  return { workerBuild: await tool(WORKER_BUILD, env), wasmBindgen: await tool(wasmBindgen(), env) };
}

function lockedVersion(name) {
  const found = new RegExp(`^name = "${name}"\\nversion = "(.+)"$`, 'm').exec(readFileSync(at('Cargo.lock'), 'utf8'));
  if (!found) throw new Error(`Cargo.lock has no \`${name}\``);
  return found[1];
}

async function tool(wanted, env) {
  const cached = join(cache, 'tools', `${wanted.name}-${wanted.version}`);
  const binary = join(cached, wanted.name);
  if (existsSync(binary)) return binary;
  if (await hasVersion(wanted.name, wanted.version, env)) return wanted.name;
  await install(wanted, cached, env);
  return binary;
}

async function hasVersion(command, version, env) {
  const { code, text } = await run(command, ['--version'], { env });
  return code === 0 && text.trim().split(/\s+/).includes(version);
}

/** Made in a folder beside the cached one, which a rename then brings into being in one step. */
async function install(wanted, cached, env) {
  const start = Date.now();
  const label = `${wanted.name} ${wanted.version}`;
  removeLeftovers();
  const work = mkdtempSync(`${cached}.tmp-`);
  try {
    const released = await wanted.release?.(wanted.version, work);
    if (!released) {
      say(`${label}: ${wanted.release ? 'the prebuilt release cannot be fetched, ' : ''}building it from source (some minutes, once)`);
      await build(wanted, work, env);
    }
    const finished = join(work, 'finished');
    mkdirSync(finished);
    copyFileSync(released ?? join(work, 'root', 'bin', wanted.name), join(finished, wanted.name));
    chmodSync(join(finished, wanted.name), 0o755);
    if (!await hasVersion(join(finished, wanted.name), wanted.version, env)) throw new Error(`the new ${label} does not run`);
    renameSync(finished, cached);
    say(`installed ${label} (${seconds(start)})`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Work folders of runs that were killed; the set-up's lock says that no other is at work. */
function removeLeftovers() {
  const folder = join(cache, 'tools');
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder).filter((name) => name.includes('.tmp-'))) rmSync(join(folder, name), { recursive: true });
}

async function build({ crate, version, optimise }, work, env) {
  const args = ['install', crate, '--version', version, '--debug', '--root', join(work, 'root'), '--target-dir', join(work, 'target')];
  const options = {
    env: { ...env, CARGO_PROFILE_DEV_DEBUG: '0', CARGO_PROFILE_DEV_OPT_LEVEL: optimise, RUSTFLAGS: undefined, CARGO_ENCODED_RUSTFLAGS: undefined, CARGO_BUILD_TARGET: undefined },
  };
  // Some releases' own lock file names a version that has been withdrawn since.
  if ((await run('cargo', [...args, '--locked'], options)).code !== 0) await must('cargo', args, options);
}

const PLATFORMS = {
  'linux x64': 'x86_64-unknown-linux-musl',
  'linux arm64': 'aarch64-unknown-linux-musl',
  'darwin x64': 'x86_64-apple-darwin',
  'darwin arm64': 'aarch64-apple-darwin',
};

/** The project's own binary; undefined where it cannot be fetched. The time limits keep an offline machine's loss small. */
async function wasmBindgenRelease(version, work) {
  const platform = PLATFORMS[`${process.platform} ${process.arch}`];
  if (!platform) return undefined;
  const name = `wasm-bindgen-${version}-${platform}`;
  const url = `https://github.com/wasm-bindgen/wasm-bindgen/releases/download/${version}/${name}.tar.gz`;
  const archive = join(work, 'release.tar.gz');
  const fetched = await run('curl', ['-fsSL', '--connect-timeout', '5', '--max-time', '120', '-o', archive, url]);
  if (fetched.code !== 0) return undefined;
  const unpacked = await run('tar', ['-xzf', archive, '-C', work]);
  const binary = join(work, name, 'wasm-bindgen');
  return unpacked.code === 0 && existsSync(binary) ? binary : undefined;
}
