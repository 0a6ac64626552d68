// A small load generator: requests over kept connections, bounded in count and in time.
import { Agent, request } from 'node:http';
import { cpuOf } from './workerd.mjs';

const REPLIES_WITHIN = 30_000;

/** Sends one request; gives status and milliseconds, and whether the connection had been used before. */
export function send(origin, { method = 'GET', path, headers = {}, body }, agent) {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const length = body === undefined ? {} : { 'content-length': body.length };
    const outgoing = request(new URL(path, origin), { method, agent, headers: { ...length, ...headers }, timeout: REPLIES_WITHIN });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no reply within ${REPLIES_WITHIN / 1000} s`)));
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks = [];
      incoming.on('data', (chunk) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => resolve({
        status: incoming.statusCode, ms: performance.now() - begin, reused: outgoing.reusedSocket, bytes: Buffer.concat(chunks),
      }));
    });
    outgoing.end(body);
  });
}

/**
 * Sends what `next()` gives, `concurrency` at a time, until `count` are sent or `ms` have passed. `settled`, if given, is
 * waited for before the CPU time is read: what a request leaves to be done later is its cost too.
 */
export async function load({ main, pid }, { next, expect, concurrency, count, ms, settled }) {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const times = [];
  let left = count;
  let fresh = 0;
  const cpu = cpuOf(pid);
  const begin = performance.now();
  async function lane() {
    while (left > 0 && performance.now() - begin < ms) {
      left -= 1;
      const reply = await send(main, next(), agent);
      if (reply.status !== expect) throw new Error(`answered ${reply.status} instead of ${expect}: ${reply.bytes.subarray(0, 300)}`);
      times.push(reply.ms);
      if (!reply.reused) fresh += 1;
    }
  }
  try {
    await Promise.all(Array.from({ length: concurrency }, lane));
  } finally {
    agent.destroy();
  }
  const took = performance.now() - begin;
  await settled?.();
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
  return {
    requests: times.length,
    connections: fresh,
    perSecond: times.length / (took / 1000),
    p50: at(0.5),
    p99: at(0.99),
    cpu: (cpuOf(pid) - cpu) / times.length,
  };
}
