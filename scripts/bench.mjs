// `npm run bench`: the hub beside a Worker written by hand and an empty one, each in workerd, one after the other in
// rounds that change their order. Prints tables, and keeps every figure in bench/results.json.
// `--quick` takes less than a minute, `--rounds N` changes their number, `--raw` prints every run, `--built` takes what is
// built as it is. `--only PATTERN` takes the cases whose name fits it, and no cold starts; `--before FOLDER` adds the hub that
// is built in another checkout, to be compared with in the same rounds. `--check` only counts what noise cannot change, and fails where it is more than it may be.
import { mkdtempSync, readFileSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { allowed, bundle, cases, contenders, dispatching, EARLIER, earlier, sameWork } from '../bench/cases.mjs';
import { startEcho } from '../bench/echo.mjs';
import { load, send } from '../bench/load.mjs';
import { quartiles, ratio, short, spread, stats, table } from '../bench/report.mjs';
import { configure, fineCpuOf, peakMemoryOf, start as startWorkerd } from '../bench/workerd.mjs';
import { build } from './build.mjs';
import { at, main, say, seconds } from './process.mjs';
import { setup } from './setup.mjs';

const FULL = { rounds: 5, ms: 2_000, count: 8_000, warm: 2_000, cold: 11, counted: 20 };
const QUICK = { rounds: 2, ms: 250, count: 800, warm: 100, cold: 3, counted: 10 };
const LANES = [1, 8, 64];
const DRAINS_WITHIN = 60_000;

/** Every case by its name, also where few are run. */
const firsts = new Map(cases.map((one) => [one.name, one]));

async function bench() {
  const start = Date.now();
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, raw: { type: 'boolean' }, built: { type: 'boolean' }, check: { type: 'boolean' }, rounds: { type: 'string' }, only: { type: 'string' }, before: { type: 'string' } } });
  const size = { ...(values.quick ? QUICK : FULL) };
  if (values.rounds) size.rounds = Number(values.rounds);
  if (process.platform !== 'linux') throw new Error('the benchmark reads CPU time and memory from /proc: it runs on Linux only');
  const env = await setup();
  await startEcho();
  if (!values.built) await build(env);

  const parent = folderForDatabases();
  const place = mkdtempSync(join(parent, 'patchbay-bench-'));
  const over = () => rmSync(place, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', over);
  for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(name, () => process.exit(code));
  try {
    if (values.check) return await check(place, env, values.built);
    const results = await measure(place, env, size, values);
    results.machine = { ...machine(), databases: parent };
    try {
      print(results, values.raw);
    } finally {
      writeFileSync(at('bench', 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
    }
    say(`done (${seconds(start)}); every figure is in bench/results.json`);
  } finally {
    over();
  }
}

/** In memory where there is room: each store waits for the disk otherwise, and the disk is nobody's merit. */
function folderForDatabases() {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm');
    if (bavail * bsize > 1.5 * 1024 ** 3) return '/dev/shm';
  } catch { /* there is none */ }
  return tmpdir();
}

/** The counts of the hub alone: the same on every machine at every load. */
async function check(place, env, built) {
  const hubs = [contenders[0], dispatching];
  for (const contender of hubs) await prepare(contender, place, env, built);
  const found = await rows(hubs, 10);
  const wrong = [];
  for (const row of found) {
    for (const [what, most] of Object.entries(allowed(row.contender, row.case))) {
      if (row[what] > most) wrong.push(`${row.case} (${row.contender}): ${row[what]} of ${what}, ${most} at most`);
    }
  }
  console.log(countsOf(found));
  if (wrong.length > 0) throw new Error(`costs more than it may:\n${wrong.join('\n')}`);
}

async function prepare(contender, place, env, built) {
  const folder = join(place, contender.name.replaceAll(/\W+/g, '-'));
  contender.settings = await bundle(contender, folder, env, built);
  contender.folder = (kind) => join(folder, kind);
  contender.runs = contender.only ?? cases.map(({ name }) => name);
}

async function measure(place, env, size, { built, only, before }) {
  if (only) cases.splice(0, cases.length, ...cases.filter(({ name }) => new RegExp(only).test(name)));
  const all = [...contenders, sameWork, dispatching, ...(before ? [earlier(before)] : [])];
  for (const contender of all) await prepare(contender, place, env, built);
  say(`bundled the contenders; load of the machine ${loadavg()[0].toFixed(2)}`);

  const results = { size, load: [loadavg()[0]], runs: [], memory: [], cold: [], manifests: [] };
  for (let round = 0; round < size.rounds; round += 1) {
    const turn = round % all.length;
    for (const contender of [...all.slice(turn), ...all.slice(0, turn)]) await oneRound(contender, round, size, results);
    results.load.push(loadavg()[0]);
    say(`round ${round + 1} of ${size.rounds} done`);
  }
  if (!only) {
    await coldStarts(size, results);
    await manifests(contenders[0], size, results);
  }
  results.rows = await rows([...contenders.slice(0, 2), sameWork, dispatching], size.counted);
  return results;
}

/** Starts a contender with a database of its own, runs `job` and stops it. */
async function running(contender, kind, settings, job) {
  const folder = contender.folder(kind);
  rmSync(folder, { recursive: true, force: true });
  configure(folder, { ...contender.settings, ...settings });
  const server = await startWorkerd(folder);
  try {
    await migrate(contender, server);
    return await job(server);
  } catch (error) {
    throw new Error(`${contender.name}: ${error.message}\n${server.errors()}`, { cause: error });
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function migrate({ schema }, server) {
  if (!schema) return;
  // Not before this line: the set-up installs it.
  const { unstable_splitSqlQuery: split } = await import('wrangler');
  await sql(server, split(schema()));
}

async function sql(server, statements) {
  const reply = await send(server.sql, { method: 'POST', path: '/', body: Buffer.from(JSON.stringify(statements)) });
  if (reply.status !== 200) throw new Error(`the database answered ${reply.status}: ${reply.bytes}`);
  return JSON.parse(reply.bytes);
}

async function oneRound(contender, round, size, results) {
  await running(contender, 'round', {}, async (server) => {
    const wanted = cases.filter(({ name }) => contender.runs.includes(name));
    const settled = contender.settings.consumed ? () => drained(server) : undefined;
    const runOf = (one, limits) => load(server, { next: one.make(), expect: one.expect, settled, ...limits });
    for (const one of wanted) await makeFirst(one, server);
    for (const one of wanted) await runOf(one, { concurrency: 8, count: Math.min(size.warm, one.most ?? size.warm), ms: 10_000 });
    for (const concurrency of LANES) {
      for (const one of wanted) {
        const count = Math.min(size.count, one.most ?? size.count);
        const run = await runOf(one, { concurrency, count, ms: size.ms });
        results.runs.push({ contender: contender.name, case: one.name, round, concurrency, ...run });
      }
    }
    results.memory.push({ contender: contender.name, round, peak: peakMemoryOf(server.pid) });
  });
}

/** What a case reads must be there. */
async function makeFirst({ first: [name, count] = [] }, server) {
  const before = firsts.get(name);
  if (before) await load(server, { next: before.make(), expect: before.expect, concurrency: 1, count, ms: 10_000 });
}

/** Until every event has been dispatched. */
async function drained(server) {
  const end = Date.now() + DRAINS_WITHIN;
  for (;;) {
    const [[{ left }]] = await sql(server, ["SELECT count(*) AS left FROM event WHERE state = 'pending'"]);
    if (left === 0) return;
    if (Date.now() > end) throw new Error(`${left} events are still not dispatched`);
    await sleep(100);
  }
}

/**
 * From the start of a process to its first reply: on the empty route with nothing but the Worker in the process, and to
 * a delivery that it stores, with D1 and queue in the process too.
 */
async function coldStarts(size, results) {
  const delivery = cases.find(({ name }) => name === 'verify and store, 12 KB');
  const kinds = [['empty route', cases[0], { d1: false, queue: false }], ['first delivery stored, 12 KB', delivery, {}]];
  for (const [index, [, one, settings]] of kinds.entries()) {
    for (const contender of contenders.filter(({ runs }) => runs.includes(one.name))) {
      configure(contender.folder(`cold-${index}`), { ...contender.settings, ...settings });
      if (index === 0) continue;
      const server = await startWorkerd(contender.folder(`cold-${index}`));
      await migrate(contender, server).finally(server.stop);
    }
  }
  for (let n = 0; n < size.cold; n += 1) {
    for (const [index, [kind, one]] of kinds.entries()) {
      for (const contender of contenders.filter(({ runs }) => runs.includes(one.name))) {
        const server = await startWorkerd(contender.folder(`cold-${index}`));
        try {
          const listening = performance.now() - server.spawned;
          const reply = await send(server.main, one.make()());
          const ms = performance.now() - server.spawned;
          if (reply.status !== one.expect) throw new Error(`${contender.name} answered ${reply.status} when cold: ${reply.bytes}`);
          results.cold.push({ contender: contender.name, kind, ms, listening, cpu: fineCpuOf(server.pid) });
        } finally {
          await server.stop();
        }
      }
    }
  }
  say('cold starts done');
}

/**
 * The first request for a service parses its manifest, the second finds it parsed. Without a
 * secret the answer is 404 or 503, after reading the manifest and before the body: the difference between the two is the
 * manifest. The very first one also runs code that has not run yet.
 */
async function manifests(hub, size, results) {
  const services = readdirSync(at('integrations'), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name)
    .filter((name) => JSON.parse(readFileSync(at('integrations', name, 'manifest.json'), 'utf8')).webhook && !hub.vars[settingOf(name)]);
  for (let n = 0; n < Math.ceil(size.cold / 2); n += 1) {
    await running(hub, 'manifests', {}, async (server) => {
      const ask = async (request) => {
        const cpu = fineCpuOf(server.pid);
        const { status, ms } = await send(server.main, request);
        return { status, ms, cpu: fineCpuOf(server.pid) - cpu };
      };
      for (let i = 0; i < 50; i += 1) await ask({ path: '/healthz' });
      const turned = services.map((_, i) => services[(i + n * 17) % services.length]);
      for (const [order, service] of turned.entries()) {
        const request = { method: 'POST', path: `/api/integration/${service}/events`, body: Buffer.from('{}') };
        const [first, second, third] = [await ask(request), await ask(request), await ask(request)];
        // The few that need no secret go further, as far as the database.
        if ([404, 503].includes(first.status)) results.manifests.push({ run: n, order, service, status: first.status, first, second, third });
      }
    });
  }
  say('manifests done');
}

const settingOf = (service) => `${service.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_WEBHOOK_SECRET`;

/** What D1 says that a request wrote and how often it was asked, by the tally between the two. */
async function rows(whose, counted) {
  const found = [];
  for (const contender of whose) {
    await running(contender, 'rows', { counted: true }, async (server) => {
      for (const one of cases.filter(({ name }) => contender.runs.includes(name))) {
        await makeFirst(one, server);
        const next = one.make();
        const settled = contender.settings.consumed ? () => drained(server) : undefined;
        // Once before: samples of refusals, and the first of the duplicates.
        await load(server, { next, expect: one.expect, concurrency: 1, count: 10, ms: 10_000, settled });
        await send(server.tally, { path: '/' });
        const { requests } = await load(server, { next, expect: one.expect, concurrency: 1, count: counted, ms: 10_000, settled });
        const sum = JSON.parse((await send(server.tally, { path: '/' })).bytes);
        const each = Object.fromEntries(Object.entries(sum).map(([key, value]) => [key, value / requests]));
        found.push({ contender: contender.name, case: one.name, ...each });
      }
    });
  }
  return found;
}

function machine() {
  const version = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;
  return {
    cpu: cpus()[0].model, cpus: cpus().length, kernel: release(), node: process.version,
    workerd: version('workerd'), wrangler: version('wrangler'), date: new Date().toISOString().slice(0, 10),
  };
}

const title = (text) => console.log(`\n${text}\n`);
const [hub, hono, empty, emptyRust] = contenders.map(({ name }) => name);

/** One figure of a contender in a case, round by round. */
const seriesOf = (runs) => (contender, name, concurrency, key) => runs
  .filter((r) => r.contender === contender && r.case === name && r.concurrency === concurrency).sort((a, b) => a.round - b.round).map((r) => r[key]);

function print(results, raw) {
  const { machine: m, runs, size } = results;
  const series = seriesOf(runs);
  const of = (...which) => stats(series(...which));

  console.log(`\n${m.cpus} × ${m.cpu}, Linux ${m.kernel}, workerd ${m.workerd}, node ${m.node}, ${m.date}; ${size.rounds} rounds; databases in ${m.databases}; load ${results.load.map((l) => l.toFixed(1)).join(' ')}`);

  title('CPU of workerd in ms per request: median (least–most) over the rounds; ratio: median of the rounds\' ratios');
  const cpu = (who, name, n) => series(who, name, n, 'cpu');
  console.log(table(['case', 'at once', 'hub', 'Hono', 'empty Worker', 'empty in Rust', 'Hono, same work', 'hub ÷ Hono', 'hub ÷ same work'], LANES.flatMap((n) => cases.map(({ name }) => [
    name, n, ...[hub, hono, empty, emptyRust, sameWork.name].map((who) => spread(of(who, name, n, 'cpu'))),
    ...[hono, sameWork.name].map((who) => spread(ratio(cpu(hub, name, n), cpu(who, name, n)))),
  ])).concat(LANES.map((n) => [`${dispatching.only[0]}, with dispatch`, n, spread(of(dispatching.name, dispatching.only[0], n, 'cpu')), ...Array(6).fill('–')]))));

  if (series(EARLIER, cases[0].name, LANES[0], 'cpu').length > 0) {
    title('The hub beside its earlier build, the same figures');
    console.log(table(['case', 'at once', 'hub', 'earlier', 'hub ÷ earlier'], LANES.flatMap((n) => cases.map(({ name }) => [
      name, n, ...[hub, EARLIER].map((who) => spread(of(who, name, n, 'cpu'))), spread(ratio(cpu(hub, name, n), cpu(EARLIER, name, n))),
    ]))));
  }

  title('Requests per second, and how long they took in ms (p50 / p99): medians over the rounds');
  const times = (who, name, n) => `${short(of(who, name, n, 'p50')?.median)} / ${short(of(who, name, n, 'p99')?.median)}`;
  console.log(table(['case', 'at once', 'hub, 1/s', 'Hono, 1/s', 'hub ÷ Hono', 'hub, ms', 'Hono, ms'], LANES.flatMap((n) => cases.map(({ name }) => [
    name, n, spread(of(hub, name, n, 'perSecond')), spread(of(hono, name, n, 'perSecond')),
    short(ratio(series(hub, name, n, 'perSecond'), series(hono, name, n, 'perSecond'))?.median), times(hub, name, n), times(hono, name, n),
  ]))));

  if (results.cold.length > 0) printFirsts(results);

  title('D1 per request');
  console.log(countsOf(results.rows));

  title('Most memory held by workerd over a round, MiB');
  console.log(table(['who', 'peak'], [...contenders, sameWork, dispatching].map(({ name }) => [name, spread(stats(results.memory.filter((r) => r.contender === name).map((r) => r.peak)))])));

  if (raw) {
    title('Every run');
    console.log(table(['who', 'case', 'at once', 'round', 'requests', 'connections', '1/s', 'p50', 'p99', 'CPU ms'], runs.map((r) => [r.contender, r.case, r.concurrency, r.round + 1, r.requests, r.connections, short(r.perSecond), r.p50.toFixed(3), r.p99.toFixed(3), r.cpu.toFixed(3)])));
    console.log(`\n${results.cold.map((c) => `${c.contender}, ${c.kind}: ${c.ms.toFixed(1)} ms (listening after ${c.listening.toFixed(1)}), CPU ${c.cpu.toFixed(1)}`).join('\n')}`);
  }
  console.log();
}

/** What is paid once: for verifying alone, for the first reply, for a manifest. */
function printFirsts(results) {
  const series = seriesOf(results.runs);
  title('CPU of verifying 12 KB: signature wrong (read and verified) less signature missing (refused unread), ms');
  const verify = (who, n) => stats(series(who, 'signature wrong, 12 KB', n, 'cpu').map((value, i) => value - series(who, 'signature missing, 12 KB', n, 'cpu')[i]));
  results.verification = Object.fromEntries([hub, hono].map((who) => [who, Object.fromEntries(LANES.map((n) => [n, verify(who, n)]))]));
  console.log(table(['at once', 'hub', 'Hono'], LANES.map((n) => [n, spread(verify(hub, n)), spread(verify(hono, n))])));

  title('Cold start: from the start of the process to the first reply, ms and CPU ms');
  const cold = (who, kind, key) => results.cold.filter((c) => c.contender === who && c.kind === kind).map((c) => c[key]);
  const kinds = [...new Set(results.cold.map(({ kind }) => kind))];
  console.log(table(['first reply', 'hub', 'Hono', 'empty Worker', 'empty in Rust', 'hub − empty', 'hub CPU', 'Hono CPU', 'empty CPU'], kinds.map((kind) => {
    const who = [hub, hono, empty, emptyRust].map((name) => stats(cold(name, kind, 'ms')));
    const less = who[2] ? short(who[0].median - who[2].median) : '–';
    return [kind, ...who.map(spread), less, ...[hub, hono, empty].map((name) => short(stats(cold(name, kind, 'cpu'))?.median))];
  })));

  title('What a manifest costs the first webhook request for its service, ms: median (middle half)');
  const parsed = manifestFigures(results.manifests);
  results.manifest = parsed;
  console.log(table(['request', 'time', 'CPU'], parsed.map(({ label, ms, cpu }) => [label, spread(ms), spread(cpu)])));
}

const countsOf = (found) => table(
  ['case', 'who', 'rows written', 'rows read', 'statements', 'round trips'],
  found.map((row) => [row.case, row.contender, ...['rowsWritten', 'rowsRead', 'statements', 'roundTrips'].map((key) => String(Number(row[key].toFixed(2))))]),
);

/** The first of an isolate apart from the others, whose code is warm. */
function manifestFigures(all) {
  const veryFirst = all.filter(({ order }) => order === 0);
  const later = all.filter(({ order }) => order >= 20);
  const both = (label, entries, pick) => ({ label, ms: quartiles(entries.map((e) => pick(e, 'ms'))), cpu: quartiles(entries.map((e) => pick(e, 'cpu'))) });
  return [
    both('first webhook request of an isolate', veryFirst, (e, key) => e.first[key]),
    both('second one, same service', veryFirst, (e, key) => e.second[key]),
    both('first for another service, code warm', later, (e, key) => e.first[key]),
    both('second for it', later, (e, key) => e.second[key]),
    both('difference of the two: parsing one manifest', later, (e, key) => e.first[key] - e.second[key]),
    both('difference of second and third: noise', later, (e, key) => e.second[key] - e.third[key]),
  ];
}

await main(import.meta.url, bench);
