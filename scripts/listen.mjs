// `npm run listen -- --forward http://localhost:3000`: hands the hub's events to a program on this machine, those too
// that came while it slept. Each is posted as a destination gets it, signed anew, so that its time is a fresh one.
//
//   --hub URL       the hub; PATCHBAY_URL, else http://127.0.0.1:8787
//   --token TOKEN   PATCHBAY_ADMIN_TOKEN, else the one in .dev.vars; a key with events:read does
//   --types GLOBS   only these types, with commas between: github.*,stripe.invoice.*
//   --since TIME    begin there (2026-01-31T12:00:00Z, or 90m, 24h, 7d ago) instead of where the last run ended
//   --secret KEY    whsec_… to sign with; one is made and shown if there is none
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, parseEnv } from 'node:util';
import { at, main, say } from './process.mjs';

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
// Tries of an event that the program answers with an error, and the longest pause while it cannot be reached.
const TRIES = 3;
const LONGEST_PAUSE_MS = 15_000;

async function listen() {
  const { values } = parseArgs({ options: Object.fromEntries(
    ['forward', 'hub', 'token', 'types', 'since', 'secret'].map((name) => [name, { type: 'string' }]),
  ) });
  if (!values.forward) throw new Error('say where to: npm run listen -- --forward http://localhost:3000');
  const hub = new URL(values.hub ?? process.env.PATCHBAY_URL ?? 'http://127.0.0.1:8787').origin;
  const secret = values.secret ?? `whsec_${randomBytes(32).toString('base64')}`;
  const place = stateFile(hub, values.forward);
  let last = values.since ? idAt(timeOf(values.since)) : remembered(place);
  const wanted = globs(values.types ?? '*');

  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => stop.abort());
  say(`forwarding events of ${hub} to ${values.forward}${last ? ` behind ${last}` : ', from now on'}`);
  if (!values.secret) say(`signed with ${secret}`);
  try {
    for await (const event of follow(hub, tokenOf(values), last, stop.signal)) {
      if (event.data !== undefined && wanted(event.type)) await forward(values.forward, event, secret, stop.signal);
      // Only now: what was not handed over is handed over by the next run.
      last = event.id;
      remember(place, last);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  say(`stopped${last ? ` behind ${last}; the next run goes on there` : ''}`);
}

/** Events behind `last`, for ever: each reply of the hub ends with what it found, and the next one goes on there. */
export async function* follow(hub, token, last, signal) {
  let pause = 500;
  for (;;) {
    let text;
    try {
      const headers = { authorization: `Bearer ${token}`, ...(last && { 'last-event-id': last }) };
      const reply = await fetch(`${hub}/api/v1/events/stream`, { headers, signal });
      if ([400, 401, 403, 404].includes(reply.status)) throw Object.assign(new Error(`the hub answers ${reply.status}: ${await reply.text()}`), { final: true });
      if (!reply.ok) throw new Error(`the hub answers ${reply.status}`);
      text = await reply.text();
      pause = 500;
    } catch (error) {
      if (signal.aborted || error.final) throw error;
      say(`${error.message}; trying again in ${pause / 1000} s`);
      await sleep(pause, undefined, { signal });
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      continue;
    }
    for (const event of parse(text)) {
      last = event.id;
      yield event;
    }
  }
}

/** The events of a reply: `{id, type, data}`; one without data only moves the reader on. */
export function parse(text) {
  return text.split('\n\n').map((block) => {
    const fields = {};
    for (const line of block.split('\n')) {
      const at = line.indexOf(': ');
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
    }
    return { id: fields.id, type: fields.event, data: fields.data };
  }).filter(({ id }) => id);
}

async function forward(url, { id, type, data }, secret, signal) {
  let pause = 500;
  for (let tries = 1; ;) {
    const began = Date.now();
    try {
      const headers = { 'content-type': 'application/json', ...signed(secret, id, data) };
      const reply = await fetch(url, { method: 'POST', headers, body: data, redirect: 'manual', signal: AbortSignal.any([signal, AbortSignal.timeout(15_000)]) });
      await reply.arrayBuffer();
      say(`${id} ${type} → ${reply.status} in ${Date.now() - began} ms`);
      if (reply.ok || (tries += 1) > TRIES) return;
    } catch (error) {
      // Not running, or restarting: nothing is lost by waiting.
      if (signal.aborted) throw error;
      say(`${id} ${type} → ${error.cause?.code ?? error.message}; trying again in ${pause / 1000} s`);
    }
    await sleep(pause, undefined, { signal });
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/** The headers of Standard Webhooks, as of now. */
export function signed(secret, id, body, now = Date.now()) {
  const timestamp = String(Math.floor(now / 1000));
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${mac}` };
}

function globs(list) {
  const patterns = list.split(',').map((glob) => new RegExp(`^${glob.trim().split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`));
  return (type) => patterns.some((pattern) => pattern.test(type));
}

function timeOf(text) {
  const [, number, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const time = unit ? Date.now() - Number(number) * UNITS[unit] : Date.parse(text);
  if (Number.isNaN(time)) throw new Error(`--since ${text} is no time; write 2026-01-31T12:00:00Z, 90m, 24h or 7d`);
  return time;
}

/** The smallest id of an event at a time: ids are ULIDs, ten characters of milliseconds and sixteen of chance. */
export function idAt(time) {
  let text = '';
  for (let rest = time, at = 0; at < 10; at += 1, rest = Math.floor(rest / 32)) text = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[rest % 32] + text;
  return `evt_${text}${'0'.repeat(16)}`;
}

function tokenOf({ token = process.env.PATCHBAY_ADMIN_TOKEN }) {
  const file = at('.dev.vars');
  const found = token ?? (existsSync(file) && parseEnv(readFileSync(file, 'utf8')).PATCHBAY_ADMIN_TOKEN);
  if (!found) throw new Error('there is no token: give --token, or set PATCHBAY_ADMIN_TOKEN');
  return found;
}

/** Where a run that forwards from here to there remembers how far it came. */
function stateFile(hub, forward) {
  const name = createHash('sha256').update(`${hub} ${forward}`).digest('hex').slice(0, 16);
  return at('.wrangler', 'listen', name);
}

const remembered = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined);

function remember(file, id) {
  mkdirSync(at('.wrangler', 'listen'), { recursive: true });
  writeFileSync(`${file}.new`, id);
  renameSync(`${file}.new`, file);
}

await main(import.meta.url, listen);
