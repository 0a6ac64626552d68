// What tests of conversations have in common, whatever the service: a connection, an agent, and waiting.
import { answer, startFakeAgent } from './fake-agent.mjs';
import { until } from './until.mjs';

let talks = 0;

/** `double` is the fake service, which closes with the test `t` as the agent does. */
export async function openTalk(t, hub, { service, double, config, destination = {} }) {
  const number = (talks += 1);
  const owner = `${service}-owner-${number}`;
  const agent = await startFakeAgent();
  t.after(() => { double.close(); agent.close(); });
  const connection = await hub.ok('POST', '/api/v1/connections', { integration: service, name: `${service} ${number}`, owner, config });
  const made = await hub.ok('POST', '/api/v1/destinations', { name: `${service} agent ${number}`, url: agent.url, event_types: [`${service}.*`], role: 'agent', owner, ...destination });
  agent.secret = made.secret;

  const talk = {
    agent, connection, owner,
    path: `${hub.url}/api/integration/${service}/events/${connection.id}`,
    /** The letter number `n` to the agent, once it is there. */
    letter: (n = 0) => until(`letter ${n}`, () => agent.deliveries[n]),
    answer: (letter, reply) => answer(letter, reply, { origin: hub.url }),
    /** Answers, and waits until all of it is done; gives the last run. */
    async say(letter, status, message, actions) {
      const reply = await talk.answer(letter, { status, message, actions });
      if (reply.status !== 202) throw new Error(JSON.stringify(reply.body));
      return talk.ended(reply.body.runs.at(-1).id);
    },
    ended: (run) => until(`run ${run} to end`, async () => {
      const found = await hub.ok('GET', `/api/v1/runs/${run}`);
      return !['pending', 'running'].includes(found.status) && found;
    }, { seconds: 90 }),
    /** All events, once each is dispatched. */
    settled: () => until('all events to be dispatched', async () => {
      const { data } = await hub.ok('GET', `/api/v1/events?connection_id=${connection.id}`);
      return data.every(({ status }) => status !== 'pending') && data;
    }),
  };
  return talk;
}
