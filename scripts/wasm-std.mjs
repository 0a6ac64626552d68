// The wasm32-unknown-unknown standard library of the compiler in use: by rustup, else built from
// Debian's source package of exactly the same version.
import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { errorLine, must, run, say, seconds } from './process.mjs';

const TARGET = 'wasm32-unknown-unknown';

// Where Debian keeps newer compilers than the one of its stable release. Several versions lie side
// by side in the first; the others are tried for the day when the wanted one has left it.
const SUITES = ['trixie-backports', 'stable-backports', 'testing', 'unstable'];

export async function wasmStd(env) {
  const libdir = await targetLibdir(env);
  if (hasStd(libdir)) return;
  const start = Date.now();
  const byRustup = await run('rustup', ['target', 'add', TARGET], { env, limit: 180 });
  if (hasStd(libdir)) return say(`installed the ${TARGET} target by rustup (${seconds(start)})`);

  const version = (await must('rustc', ['--version'], { env })).split(' ')[1];
  say(`rustup could not add ${TARGET} (${errorLine(byRustup)}): building it from Debian's source of Rust ${version}`);
  try {
    await buildStd(version, libdir, env);
  } catch (error) {
    throw new Error(`${error.message}\n\nThe standard library for ${TARGET} is missing. `
      + `Run \`rustup target add ${TARGET}\` where rustup's server is reached, `
      + `or run this as a user who may write ${libdir}, on a machine with apt and a Debian mirror that has rust-src ${version}.`);
  }
  say(`built the ${TARGET} standard library (${seconds(start)})`);
}

const targetLibdir = (env) => must('rustc', ['--target', TARGET, '--print', 'target-libdir'], { env });
const hasStd = (libdir) => existsSync(libdir) && readdirSync(libdir).some((name) => /^libstd-.*\.rlib$/.test(name));

async function buildStd(version, libdir, env) {
  const sysroot = await must('rustc', ['--print', 'sysroot'], { env });
  const work = mkdtempSync(join(tmpdir(), 'patchbay-std-'));
  // Cargo looks for the source here and nowhere else.
  const library = join(sysroot, 'lib', 'rustlib', 'src', 'rust', 'library');
  const borrowed = !existsSync(library);
  try {
    if (borrowed) await linkSource(await debianSource(version, work), library);
    install(await compile(work, library, env), libdir);
  } finally {
    if (borrowed) rmSync(library, { force: true });
    rmSync(work, { recursive: true, force: true });
  }
}

async function linkSource(source, library) {
  mkdirSync(dirname(library), { recursive: true });
  // A link left by a run that was killed points nowhere.
  if (lstatSync(library, { throwIfNoEntry: false })) rmSync(library);
  symlinkSync(source, library);
}

async function compile(work, library, env) {
  mkdirSync(join(work, 'src'));
  writeFileSync(join(work, 'src', 'lib.rs'), '');
  writeFileSync(join(work, 'Cargo.toml'), '[package]\nname = "nothing"\nedition = "2021"\n[workspace]\n');
  const target = join(work, 'target');
  const flags = ['--release', '-Zbuild-std=std,panic_abort', '--target', TARGET, '--target-dir', target];
  // Started in the repository, for the compiler that its rust-toolchain.toml names.
  await must('cargo', ['build', ...flags, '--manifest-path', join(work, 'Cargo.toml')], {
    env: {
      ...env,
      RUSTC_BOOTSTRAP: '1',
      // Bitcode is what `lto = true` reads; the remap keeps this machine's paths out of the wasm.
      RUSTFLAGS: `-Cembed-bitcode=yes --remap-path-prefix=${library}=/rustc/library`,
      CARGO_ENCODED_RUSTFLAGS: undefined,
    },
  });
  return join(target, TARGET, 'release', 'deps');
}

function install(deps, libdir) {
  const files = readdirSync(deps).filter((name) => name.endsWith('.rlib') && !name.startsWith('libnothing-'));
  // std last: its presence is what says that all is there.
  files.sort((a, b) => a.startsWith('libstd-') - b.startsWith('libstd-'));
  mkdirSync(libdir, { recursive: true });
  for (const name of files) cpSync(join(deps, name), join(libdir, name));
}

/** Downloads and unpacks rust-src of this version; gives its `library` folder. */
async function debianSource(version, work) {
  const mirror = archive();
  for (const suite of SUITES) {
    const apt = aptOptions(work, mirror, suite);
    if ((await run('apt-get', [...apt, 'update'], { limit: 120 })).code !== 0) continue;
    const { text } = await run('apt-cache', [...apt, 'madison', 'rust-src']);
    const found = text.split('\n').map((line) => line.split('|')[1]?.trim()).find((v) => v?.startsWith(`${version}+`));
    if (!found) continue;
    await must('apt-get', [...apt, 'download', `rust-src=${found}`], { cwd: work, limit: 300 });
    const deb = readdirSync(work).find((name) => name.endsWith('.deb'));
    await must('dpkg', ['-x', deb, 'deb'], { cwd: work });
    return librarySource(join(work, 'deb', 'usr', 'src'));
  }
  throw new Error(`no suite of the Debian mirror (${SUITES.join(', ')}) has rust-src ${version}`);
}

function librarySource(sources) {
  const folder = readdirSync(sources).map((name) => join(sources, name, 'library')).find((path) => existsSync(path));
  if (!folder) throw new Error('the package rust-src holds no library folder');
  return folder;
}

/** apt with this one suite alone, with folders of its own: neither root nor the machine's lists are needed. */
function aptOptions(work, mirror, suite) {
  const list = join(work, `${suite}.sources`);
  const lists = join(work, 'lists', suite);
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(join(work, 'cache', 'archives', 'partial'), { recursive: true });
  writeFileSync(list, `Types: deb\nURIs: ${mirror.uri}\nSuites: ${suite}\nComponents: main\n${mirror.signedBy}`);
  const options = {
    'Dir::Etc::SourceList': list, 'Dir::Etc::SourceParts': '-', 'Dir::State::Lists': lists,
    'Dir::Cache': join(work, 'cache'), 'APT::Sandbox::User': '', 'Acquire::Languages': 'none',
  };
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The Debian archive that this machine already uses. */
function archive() {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  for (const file of ['/etc/apt/sources.list', ...files].filter((path) => existsSync(path))) {
    const found = file.endsWith('.sources') ? fromStanzas(file) : file.endsWith('.list') && fromLines(file);
    if (found) return found;
  }
  throw new Error("no Debian archive in this machine's apt sources");
}

// The main archive's path ends in /debian; security and others have other names.
const isArchive = (uri) => /\/debian\/?$/.test(uri ?? '');

function fromStanzas(file) {
  for (const stanza of readFileSync(file, 'utf8').split(/\n\s*\n/)) {
    const field = (name) => new RegExp(`^${name}:\\s*(\\S.*)$`, 'mi').exec(stanza)?.[1];
    const uri = field('URIs')?.split(/\s+/).find(isArchive);
    const key = field('Signed-By');
    if (uri && field('Enabled') !== 'no') return { uri, signedBy: key ? `Signed-By: ${key}\n` : '' };
  }
}

function fromLines(file) {
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, options = '', uri] = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)/.exec(line.trim()) ?? [];
    const key = /signed-by=(\S+)/.exec(options)?.[1];
    if (isArchive(uri)) return { uri, signedBy: key ? `Signed-By: ${key}\n` : '' };
  }
}
