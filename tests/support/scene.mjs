// What most tests need around the hub: a fake GitHub with one repository, a connection to it, and an
// agent. Each scene has an owner of its own, so that scenes in one hub do not see each other's events.
import { randomBytes } from 'node:crypto';
import { answer, startFakeAgent } from './fake-agent.mjs';
import { startFakeGitHub } from './fake-github.mjs';
import { appKey } from './keys.mjs';
import { deliver, payloads } from './payloads.mjs';
import { until } from './until.mjs';

export const APP_ID = '424242';
const key = appKey();
let scenes = 0;

/**
 * `alice` may write to the repository, `mallory` may read it. Issues 1 to 9 exist. `config` and `destination` are
 * laid over what the connection and the agent's destination are made with; `basePath` is the fake GitHub's.
 * Closes with the test `t`.
 */
export async function openScene(t, hub, { config = {}, destination = {}, basePath } = {}) {
  const number = (scenes += 1);
  const owner = `owner-${number}`;
  const repo = `octo-org-${number}/hello.world`;
  const installation = 7000 + number;
  const secret = randomBytes(24).toString('hex');

  const github = await startFakeGitHub({ appId: APP_ID, publicKey: key.publicKey, basePath });
  github.addRepository(repo, {
    installation,
    permissions: { alice: 'write', mallory: 'read' },
    issues: [1, 2, 3, 4, 5, 6, 7, 8, 9],
  });
  const agent = await startFakeAgent();
  t.after(() => { github.close(); agent.close(); });
  const connection = await hub.ok('POST', '/api/v1/connections', {
    integration: 'github',
    name: `scene ${number}`,
    owner,
    config: { app_id: APP_ID, private_key: key.pkcs1, base_url: github.url, webhook_secret: secret, ...config },
  });
  const made = await hub.ok('POST', '/api/v1/destinations', {
    name: `agent ${number}`, url: agent.url, event_types: ['github.*'], role: 'agent', owner, ...destination,
  });
  agent.secret = made.secret;

  const scene = {
    hub, owner, repo, installation, secret, github, agent, connection, destination: made, key,
    path: `${hub.url}/api/integration/github/events/${connection.id}`,

    /** Sends a delivery that must be accepted; gives the reply's body. `what` is a name in `payloads`. */
    async send(what, fields, options = {}) {
      const [event, payload] = payloads[what]({ repo, installation, user: 'alice', issue: 1, ...fields });
      const reply = await deliver(scene.path, { secret, event, payload, ...options });
      if (reply.status !== 202) throw new Error(`the hub answered ${reply.status}: ${reply.bytes}`);
      return reply.body;
    },
    comment: (text, fields, options) => scene.send('issueComment', { text, ...fields }, options),

    /** The message that the agent got about an event, once it has it. */
    message: (event) => until(`the agent to hear of ${event}`, () => scene.messages(event)[0]),
    messages: (event) => agent.deliveries.filter(({ message }) => message.data.event.id === event),

    /** Mentions the agent and gives the delivery in which the agent is asked. */
    async ask(text = '@patchbay please look at this', fields) {
      return scene.message((await scene.comment(text, fields)).id);
    },
    answer: (delivery, reply, options) => answer(delivery, reply, { origin: hub.url, ...options }),
    complete: (delivery, message, options) => scene.answer(delivery, { status: 'completed', message }, options),

    /** A run, once it has ended. */
    ended: (run) => until(`run ${run} to end`, async () => {
      const found = await hub.ok('GET', `/api/v1/runs/${run}`);
      if (['pending', 'running'].includes(found.status)) throw new Error(JSON.stringify(found));
      return found;
    }, { seconds: 90 }),

    /** An event, once nothing more is to be done about it. */
    settled: (event) => until(`${event} to be dispatched`, async () => {
      const found = await hub.ok('GET', `/api/v1/events/${event}`);
      return [found, ...found.deliveries].every(({ status }) => status !== 'pending') && found;
    }),
  };
  return scene;
}
