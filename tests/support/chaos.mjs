// A load of events, a destination that fails by chance, and a server that is killed by chance: what was accepted
// must arrive, and be recorded once.
import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFakeAgent } from './fake-agent.mjs';
import { SETTINGS } from './hub.mjs';
import { deliver } from './payloads.mjs';
import { until } from './until.mjs';
import { makePlace, startWrangler } from './wrangler-dev.mjs';

const SENDERS = 8;

export async function chaos({ events, kills, failing, minutes, say = () => {} }) {
  const secret = randomBytes(24).toString('hex');
  const place = await makePlace({ ...SETTINGS, GITHUB_WEBHOOK_SECRET: secret });
  const agent = await startFakeAgent();
  let server = await startWrangler(place);
  const end = Date.now() + minutes * 60_000;
  const left = () => Math.max(1, Math.round((end - Date.now()) / 1000));
  let killed = 0;
  try {
    const waits = Array(20).fill(1);
    const made = await server.ok('POST', '/api/v1/destinations', {
      name: 'chaos', url: agent.url, event_types: ['github.*'], retry: { waits_s: waits },
    });
    agent.secret = made.secret;
    let refused = 0;
    const fails = () => {
      if (Math.random() >= failing) return false;
      refused += 1;
      return true;
    };
    agent.fail({ times: Infinity, path: { test: fails }, answer: { status: 500 } });

    const accepted = new Map();
    let next = 0;
    let paused = Promise.resolve();
    // A service repeats what got no 202, as services do.
    const sender = async () => {
      for (let number = next++; number < events; number = next++) {
        const id = `chaos-${number}`;
        await until(`${id} to be accepted`, async () => {
          await paused;
          const url = `${server.url}/api/integration/github/events`;
          const reply = await deliver(url, { secret, event: 'ping', payload: { number }, id });
          if (reply.status !== 202) throw new Error(`status ${reply.status}`);
          accepted.set(id, reply.body.id);
          return true;
        }, { seconds: left() });
      }
    };
    const killer = async () => {
      for (let at = 1; at <= kills; at += 1) {
        const mark = Math.round((events * at) / (kills + 1));
        await until(`${mark} events`, () => accepted.size >= mark, { seconds: left() });
        await sleep(randomInt(50, 500));
        let resume;
        paused = new Promise((resolve) => { resume = resolve; });
        await server.kill();
        killed += 1;
        server = await startWrangler(place);
        resume();
        say(`killed ${killed} times; ${accepted.size} accepted, ${agent.deliveries.length} arrived`);
      }
    };
    await Promise.all([killer(), ...Array.from({ length: SENDERS }, sender)]);

    // What is left behind is found by cron, when its claims have run out: two minutes.
    const arrived = () => new Set(agent.deliveries.map(({ message }) => message.deliveryid));
    await until('every event to arrive', async () => {
      await server.tick();
      await sleep(1_000);
      return arrived().size >= accepted.size;
    }, { seconds: left() });
    await until('nothing to wait', async () => {
      await server.tick();
      const { data } = await server.ok('GET', '/api/v1/deliveries?status=pending&limit=1');
      const pending = await server.ok('GET', '/api/v1/events?status=pending&limit=1');
      await sleep(500);
      return data.length + pending.data.length === 0;
    }, { seconds: left() });

    const recorded = await everything(server, '/api/v1/events?limit=200');
    const deliveries = await everything(server, '/api/v1/deliveries?limit=200');
    const perEvent = (list, key) => list.reduce((counts, one) => counts.set(one[key], (counts.get(one[key]) ?? 0) + 1), new Map());
    const eventsByDelivery = perEvent(recorded, 'deliveryid');
    const rows = perEvent(deliveries, 'event_id');
    const here = arrived();
    return {
      accepted: accepted.size,
      arrived: here.size,
      messages: agent.requests.length,
      refused,
      kills: killed,
      wrong: {
        'accepted, but never arrived': [...accepted.keys()].filter((id) => !here.has(id)),
        'not recorded exactly once': [...accepted.keys()].filter((id) => eventsByDelivery.get(id) !== 1),
        'not exactly one delivery': [...accepted.values()].filter((id) => rows.get(id) !== 1),
        'delivered, but not seen to be': deliveries.filter(({ status }) => status !== 'delivered').map(({ id }) => id),
        'badly signed': agent.rejected.map(({ id }) => id),
      },
    };
  } finally {
    await server.kill();
    agent.close();
    place.remove();
  }
}

async function everything(server, path) {
  const all = [];
  for (let cursor; cursor !== null;) {
    const page = await server.ok('GET', `${path}${cursor ? `&cursor=${cursor}` : ''}`);
    all.push(...page.data);
    cursor = page.next_cursor;
  }
  return all;
}
