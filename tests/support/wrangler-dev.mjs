// A real `wrangler dev` that can be killed: the Worker as a process of its own, with state in a folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { client } from './api.mjs';
import { until } from './until.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const wrangler = join(root, 'node_modules', '.bin', 'wrangler');
const env = { ...process.env, CI: '1', CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' };

/** A folder with the tests' configuration, the settings and the databases; `remove` it in the end. */
export async function makePlace(settings) {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-'));
  const config = readFileSync(join(root, 'tests', 'e2e', 'wrangler.toml'), 'utf8').replaceAll('"../../', `"${root}`);
  writeFileSync(join(folder, 'wrangler.toml'), config);
  writeFileSync(join(folder, '.dev.vars'), Object.entries(settings).map(([name, value]) => `${name}="${value}"\n`).join(''));
  const place = {
    folder,
    settings,
    port: await freePort(),
    args: ['--config', join(folder, 'wrangler.toml'), '--persist-to', join(folder, 'state')],
    remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
  const { child, output } = run(['d1', 'migrations', 'apply', 'DB', '--local', ...place.args]);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the migrations failed:\n${output()}`);
  return place;
}

/** Starts the server and waits until it answers. `kill` ends it as a power cut would. */
export async function startWrangler(place) {
  const { child, output } = run(['dev', '--ip', '127.0.0.1', '--port', String(place.port), ...place.args]);
  const ended = once(child, 'close');
  const url = `http://127.0.0.1:${place.port}`;
  const kill = async () => {
    try { process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended by itself */ }
    await ended;
  };
  try {
    await until('wrangler dev to answer', async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      return (await fetch(`${url}/healthz`)).ok;
    }, { seconds: 60 });
  } catch (error) {
    await kill();
    throw new Error(`${error.message}\n${output()}`);
  }
  return {
    url,
    kill,
    ...client(url, place.settings.PATCHBAY_ADMIN_TOKEN),
    tick: () => fetch(`${url}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*`),
  };
}

/** Wrangler in a process group of its own, since it starts workerd. */
function run(args) {
  const child = spawn(process.execPath, [wrangler, ...args], { env, cwd: tmpdir(), detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  return { child, output: () => text };
}

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
