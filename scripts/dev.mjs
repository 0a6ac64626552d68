// `npm run dev`: set-up, build, local secrets, local database, then the Worker on this machine.
// `--port N` or PORT choose another port than 8787.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build, hashOf } from './build.mjs';
import { at, main, must, say, seconds } from './process.mjs';
import { setup } from './setup.mjs';

const HOST = '127.0.0.1';
const VARS = at('.dev.vars');
// With the local databases, so that it goes away with them.
const LOCAL_DATABASES = at('.wrangler', 'state', 'v3', 'd1');
const MIGRATED = at('.wrangler', 'state', 'v3', 'd1', 'patchbay-migrations');

async function dev() {
  const start = Date.now();
  const { values } = parseArgs({ options: { port: { type: 'string' } } });
  const port = Number(values.port ?? process.env.PORT ?? 8787);
  await mustBeFree(port);
  const env = { ...await setup(), CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' };
  await build(env);
  const url = `http://${HOST}:${port}`;
  writeVars(url);
  await migrate(env);
  await serve(url, port, env, start);
}

function mustBeFree(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => reject(new Error(`port ${port} cannot be used (${error.code}): choose another one with \`npm run dev -- --port N\``)));
    probe.listen(port, HOST, () => probe.close(resolve));
  });
}

/** Random secrets for local use, made once and never overwritten. */
function writeVars(url) {
  if (existsSync(VARS)) return;
  const vars = {
    PATCHBAY_ADMIN_TOKEN: randomBytes(24).toString('base64url'),
    PATCHBAY_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    PATCHBAY_PUBLIC_URL: url,
    // Locally the services and destinations called are programs on this machine.
    PATCHBAY_ALLOW_PRIVATE_NETWORK: 'true',
    ...Object.fromEntries(servicesWithAppSecret().map((name) => [`${name}_WEBHOOK_SECRET`, randomBytes(24).toString('hex')])),
  };
  const lines = Object.entries(vars).map(([name, value]) => `${name}="${value}"\n`);
  writeFileSync(VARS, lines.join(''), { mode: 0o600, flag: 'wx' });
  say(`wrote random secrets for local use to ${VARS}`);
}

/** Services whose webhooks are all signed with one secret, that of the app: their names as in a variable. */
function servicesWithAppSecret() {
  const manifest = (name) => at('integrations', name, 'manifest.json');
  return readdirSync(at('integrations'))
    .filter((name) => existsSync(manifest(name)) && JSON.parse(readFileSync(manifest(name), 'utf8')).webhook?.app_secret === true)
    .map((name) => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_'));
}

async function migrate(env) {
  const wanted = hashOf(['migrations']);
  if (existsSync(MIGRATED) && readFileSync(MIGRATED, 'utf8') === wanted) return;
  const start = Date.now();
  await must('wrangler', ['d1', 'migrations', 'apply', 'DB', '--local'], { env: { ...env, CI: '1' } });
  if (existsSync(LOCAL_DATABASES)) writeFileSync(MIGRATED, wanted);
  say(`migrated the local database (${seconds(start)})`);
}

async function serve(url, port, env, start) {
  // A group of its own, so that one signal ends wrangler and the workerd that it starts.
  const child = spawn('wrangler', ['dev', '--ip', HOST, '--port', String(port)], {
    env, cwd: at(), stdio: ['ignore', 'inherit', 'inherit'], detached: true,
  });
  const exit = new Promise((resolve) => {
    child.on('exit', (code) => resolve(code ?? 0));
    child.on('error', (error) => { say(`wrangler did not start: ${error.message}`); resolve(1); });
  });
  const ended = exit.then((code) => ({ code }));
  stopWith(child, exit);

  const ready = await Promise.race([firstTick(url, ended), ended]);
  if (ready.code === undefined) {
    say(`Ready on ${url} (${seconds(start)})`);
    setInterval(() => tick(url), 60_000).unref();
  }
  process.exitCode = await exit;
}

function stopWith(child, exit) {
  const signal = (name) => {
    try { process.kill(-child.pid, name); } catch { /* the group has ended */ }
  };
  let asked = false;
  const stop = () => {
    signal(asked ? 'SIGKILL' : 'SIGTERM');
    asked = true;
    setTimeout(() => signal('SIGKILL'), 5_000).unref();
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, stop);
  if (process.env.npm_lifecycle_event) stopWithoutParent(stop);
  // What is left of the group when wrangler is gone, or when this script ends for another reason.
  exit.then(() => signal('SIGKILL'));
  process.on('exit', () => signal('SIGKILL'));
}

/** npm hands a signal to its shell alone, which ends without telling this script. */
function stopWithoutParent(stop) {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, 500).unref();
}

/** Locally cron does not fire by itself: the first tick says that the server is up, the others keep it going. */
async function firstTick(url, ended) {
  let over = false;
  ended.then(() => { over = true; });
  while (!over && !await tick(url)) await sleep(100);
  return {};
}

async function tick(url) {
  try {
    const reply = await fetch(`${url}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*`, { signal: AbortSignal.timeout(50_000) });
    if (!reply.ok) say(`the scheduled job answered ${reply.status}`);
    return true;
  } catch {
    return false;
  }
}

await main(import.meta.url, dev);
