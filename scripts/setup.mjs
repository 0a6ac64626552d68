// Installs what a fresh clone lacks: node packages, the Rust toolchain, its wasm standard library
// and the build tools. Every step looks first whether it is done, so that a second run says nothing.
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { at, bin, errorLine, main, must, run, say, seconds, withLock } from './process.mjs';
import { cache, tools } from './tools.mjs';
import { wasmStd } from './wasm-std.mjs';

/** Does all steps; gives the environment in which cargo, worker-build, node and wrangler run. */
export async function setup() {
  await nodePackages();
  const env = await toolchain({ ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` });
  // One at a time for all clones: they write the same toolchain and the same cache.
  await withLock(join(cache, 'setup.lock'), async () => {
    await wasmStd(env);
    const { workerBuild, wasmBindgen } = await tools(env);
    Object.assign(env, { WORKER_BUILD_BIN: workerBuild, WASM_BINDGEN_BIN: wasmBindgen });
  });
  return Object.assign(env, { WASM_OPT_BIN: join(bin, 'wasm-opt'), ESBUILD_BIN: join(bin, 'esbuild') });
}

async function nodePackages() {
  if (packagesAreCurrent()) return;
  const start = Date.now();
  const flags = ['--no-audit', '--no-fund', '--loglevel=error'];
  const exact = await run('npm', ['ci', ...flags]);
  if (exact.code !== 0) {
    // A lock file made against a mirror that lacks other systems' binaries is not whole for `npm ci`.
    say(`npm ci failed (${exact.text.trim().split('\n').find((line) => / Missing: | code /.test(line)) ?? exact.code}): trying npm install`);
    await must('npm', ['install', '--no-save', ...flags]);
  }
  say(`installed the node packages (${seconds(start)})`);
}

/** Whether node_modules holds the versions of package-lock.json, by npm's own record of what it put there. */
function packagesAreCurrent() {
  const record = at('node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const packages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages;
  const installed = packages(record);
  return Object.entries(packages(at('package-lock.json'))).every(([path, { version, optional }]) =>
    // Optional packages are mostly binaries for other systems.
    path === '' || installed[path]?.version === version || (optional && !installed[path]));
}

/** Makes sure of the compiler that rust-toolchain.toml names; gives the environment that selects it. */
async function toolchain(env) {
  const wanted = /^channel\s*=\s*"(.+)"/m.exec(readFileSync(at('rust-toolchain.toml'), 'utf8'))[1];
  const present = await run('rustc', ['--version'], { env });
  if (present.code === 0) return present.text.includes(` ${wanted} `) ? env : otherCompiler(present.text.trim(), wanted, env);
  if (present.code === 127) throw new Error(`Rust is missing: install rustup from https://rustup.rs, it then fetches ${wanted} by itself`);

  const start = Date.now();
  const install = await run('rustup', ['toolchain', 'install', wanted, '--profile', 'minimal', '-c', 'rustfmt', '-c', 'clippy', '--no-self-update'], { env, limit: 600 });
  if (install.code === 0) {
    say(`installed Rust ${wanted} by rustup (${seconds(start)})`);
    return env;
  }
  const name = await sameVersionUnderAnotherName(wanted, env);
  if (!name) throw new Error(`Rust ${wanted} is missing and rustup could not fetch it: ${errorLine(install)}`);
  say(`rustup could not fetch Rust ${wanted}: using its toolchain ${name}, which is the same version`);
  return { ...env, RUSTUP_TOOLCHAIN: name };
}

function otherCompiler(found, wanted, env) {
  say(`using ${found} though rust-toolchain.toml asks for ${wanted}: this rustc does not come from rustup, or RUSTUP_TOOLCHAIN is set`);
  return env;
}

async function sameVersionUnderAnotherName(wanted, env) {
  const { text } = await run('rustup', ['toolchain', 'list'], { env });
  for (const name of text.split('\n').map((line) => line.split(' ')[0]).filter(Boolean)) {
    const { code, text: version } = await run('rustup', ['run', name, 'rustc', '--version'], { env });
    if (code === 0 && version.includes(` ${wanted} `)) return name;
  }
  return undefined;
}

// `npm run setup -- cargo clippy` runs a command in the environment made ready.
await main(import.meta.url, async () => {
  const env = await setup();
  const [command, ...args] = process.argv.slice(2);
  if (command) process.exitCode = (await run(command, args, { env, output: 'show' })).code;
});
