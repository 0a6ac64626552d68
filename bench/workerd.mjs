// A contender in workerd itself, without what wrangler puts around it: its proxy, a second workerd, middleware and a
// collector of traces would be measured too. D1 and the queue are the local ones that come with wrangler.
import { spawn } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at } from '../scripts/process.mjs';

const LOCAL = at('node_modules', 'miniflare', 'dist', 'src', 'workers');
const WORKERS = at('bench', 'workers');
const QUEUE = 'patchbay-events';

const STARTS_WITHIN = 20_000;
const STOPS_WITHIN = 3_000;

const workerd = () => readdirSync(at('node_modules', '@cloudflare'))
  .filter((name) => name.startsWith('workerd-'))
  .map((name) => at('node_modules', '@cloudflare', name, 'bin', 'workerd'))[0];

/**
 * Writes a configuration into `folder`: `modules` is the folder that wrangler bundled the Worker into, `entry` its main
 * module, `vars` become text bindings. `counted` puts the tally before D1, `consumed` gives the queue its consumer back,
 * `local` lets it reach this machine.
 */
export function configure(folder, { modules, entry, vars = {}, d1 = false, queue = false, consumed = false, counted = false, local = false }) {
  mkdirSync(join(folder, 'd1'), { recursive: true });
  cpSync(modules, join(folder, 'main'), { recursive: true });
  for (const [from, to] of [
    ['d1/entry.worker.js', 'd1-entry.js'], ['d1/database.worker.js', 'd1-database.js'],
    ['queues/broker.worker.js', 'queue-broker.js'], ['shared/object-entry.worker.js', 'object-entry.js'],
    ['shared/index.worker.js', 'shared.js'], ['shared/zod.worker.js', 'zod.js'],
  ]) copyFileSync(join(LOCAL, from), join(folder, to));
  for (const name of ['sql.js', 'tally.js', 'nothing.js']) copyFileSync(join(WORKERS, name), join(folder, name));

  const q = JSON.stringify;
  const json = (value) => q(JSON.stringify(value));
  const list = (parts) => `[${parts.filter(Boolean).join(', ')}]`;
  const module = (name) => `(name = ${q(name)}, ${name.endsWith('.wasm') ? 'wasm' : 'esModule'} = embed ${q(`main/${name}`)})`;
  const others = readdirSync(modules).filter((name) => /\.(js|wasm)$/.test(name) && name !== entry);
  const database = (service, entrypoint = '') => `(name = "DB", wrapped = (moduleName = "cloudflare-internal:d1-api", innerBindings = [(name = "fetcher", service = (name = ${q(service)}${entrypoint}, props = (json = ${json({ MINIFLARE_NAMESPACE: 'DB' })})))]))`;
  const real = database('d1');
  const bindings = list([
    ...Object.entries(vars).map(([name, value]) => `(name = ${q(name)}, text = ${q(value)})`),
    d1 && (counted ? database('tally', ', entrypoint = "Database"') : real),
    queue && '(name = "KV", kvNamespace = "nothing")',
    queue && '(name = "QUEUE", queue = "queue")',
  ]);
  const consumers = consumed ? { [QUEUE]: { workerName: 'main', maxBatchSize: 10, maxBatchTimeout: 1, maxRetries: 100 } } : {};

  const services = list([
    `(name = "main", worker = (modules = ${list([entry, ...others].map(module))}, compatibilityDate = ${setting('compatibility_date')}, compatibilityFlags = ${setting('compatibility_flags')}, bindings = ${bindings}))`,
    local && '(name = "internet", network = (allow = ["public", "private"]))',
    '(name = "nothing", worker = (modules = [(name = "nothing.js", esModule = embed "nothing.js")], compatibilityDate = "2025-01-01"))',
    d1 && `(name = "d1", worker = (modules = [(name = "d1-entry.js", esModule = embed "d1-entry.js")], compatibilityDate = "2023-07-24", compatibilityFlags = ["enhanced_error_serialization"], bindings = [(name = "MINIFLARE_OBJECT", durableObjectNamespace = (serviceName = "d1-object", className = "D1DatabaseObject"))]))`,
    d1 && '(name = "d1-disk", disk = (path = "d1", writable = true))',
    d1 && `(name = "d1-object", worker = (modules = [(name = "d1-database.js", esModule = embed "d1-database.js")], compatibilityDate = "2023-07-24", compatibilityFlags = ["nodejs_compat", "experimental"], durableObjectNamespaces = [(className = "D1DatabaseObject", uniqueKey = "miniflare-D1DatabaseObject")], durableObjectStorage = (localDisk = "d1-disk"), bindings = [(name = "MINIFLARE_BLOBS", service = "d1-disk"), (name = "MINIFLARE_LOOPBACK", service = "nothing")]))`,
    d1 && `(name = "sql", worker = (modules = [(name = "sql.js", esModule = embed "sql.js")], compatibilityDate = "2025-01-01", bindings = [${real}]))`,
    d1 && counted && `(name = "tally", worker = (modules = [(name = "tally.js", esModule = embed "tally.js")], compatibilityDate = "2025-01-01", bindings = [(name = "NEXT", service = (name = "d1", props = (json = ${json({ MINIFLARE_NAMESPACE: 'DB' })})))]))`,
    queue && `(name = "queue", worker = (modules = [(name = "object-entry.js", esModule = embed "object-entry.js")], compatibilityDate = "2023-07-24", bindings = [(name = "MINIFLARE_NAMESPACE", text = ${q(QUEUE)}), (name = "MINIFLARE_OBJECT", durableObjectNamespace = (serviceName = "queue-object", className = "QueueBrokerObject"))]))`,
    queue && `(name = "queue-object", worker = (modules = [(name = "queue-broker.js", esModule = embed "queue-broker.js")], compatibilityDate = "2023-07-24", compatibilityFlags = ["nodejs_compat", "experimental", "service_binding_extra_handlers"], durableObjectNamespaces = [(className = "QueueBrokerObject", uniqueKey = "miniflare-QueueBrokerObject", preventEviction = true)], durableObjectStorage = (inMemory = void), bindings = [(name = "MINIFLARE_LOOPBACK", service = "nothing"), (name = "MINIFLARE_OBJECT", durableObjectNamespace = "QueueBrokerObject"), (name = "MINIFLARE_QUEUE_PRODUCERS", json = ${json({ QUEUE: { workerName: 'main', queueName: QUEUE } })}), (name = "MINIFLARE_QUEUE_CONSUMERS", json = ${json(consumers)}), (name = "MINIFLARE_WORKER_main", service = "main")]))`,
  ]);
  const socket = (name) => `(name = ${q(name)}, address = "127.0.0.1:0", http = (), service = ${q(name)})`;
  const sockets = list([socket('main'), d1 && socket('sql'), d1 && counted && socket('tally')]);
  writeFileSync(join(folder, 'config.capnp'), `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = ${services},
  sockets = ${sockets},
  extensions = [(modules = [(name = "miniflare:shared", esModule = embed "shared.js"), (name = "miniflare:zod", esModule = embed "zod.js")])],
);
`);
  return folder;
}

/** What the product runs with: a date, a list of flags. */
const setting = (name) => new RegExp(`^${name} = (.*)$`, 'm').exec(readFileSync(at('wrangler.toml'), 'utf8'))[1];

/** Starts workerd in a configured folder. `main` and the other sockets are addresses; `spawned` is the time of `performance`. */
export async function start(folder) {
  const spawned = performance.now();
  const child = spawn(workerd(), ['serve', '--experimental', '--control-fd=3', 'config.capnp'], {
    cwd: folder, stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4_000); });
  const ended = new Promise((resolve) => { child.once('close', resolve).once('error', (error) => { errors += error.message; resolve(); }); });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(kill, STOPS_WITHIN);
    await ended;
    clearTimeout(timer);
    process.off('exit', kill);
  };

  const wanted = [...readFileSync(join(folder, 'config.capnp'), 'utf8').matchAll(/\(name = "(\w+)", address =/g)].length;
  const sockets = await new Promise((resolve, reject) => {
    const found = {};
    let text = '';
    const timer = setTimeout(() => reject(new Error('workerd does not listen')), STARTS_WITHIN);
    child.stdio[3].setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop();
      for (const line of lines) {
        const { event, socket, port } = JSON.parse(line);
        if (event === 'listen') found[socket] = `http://127.0.0.1:${port}`;
      }
      if (Object.keys(found).length === wanted) { clearTimeout(timer); resolve(found); }
    });
    ended.then(() => { clearTimeout(timer); reject(new Error(`workerd ended: ${errors}`)); });
  }).catch(async (error) => { await stop(); throw error; });

  return { ...sockets, pid: child.pid, spawned, stop, errors: () => errors };
}

/** Milliseconds of CPU that a process has used so far, in all its threads: to 10 ms, as the system accounts for it. */
export function cpuOf(pid) {
  // The name, in brackets, may hold spaces. What follows it begins with field 3.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The same to the nanosecond, of the threads that live: for single requests. */
export function fineCpuOf(pid) {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try { ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]); } catch { /* it has ended */ }
  }
  return ns / 1e6;
}

/** The most memory that a process has held so far, in MiB. */
export const peakMemoryOf = (pid) => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
