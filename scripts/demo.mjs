// `npm run demo`: a GitHub comment becomes an answer, on the dev server that is running, with a small
// fake GitHub and a small fake agent. The server's address is an argument or PATCHBAY_URL; the admin
// token comes from .dev.vars or PATCHBAY_ADMIN_TOKEN.
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { at, main } from './process.mjs';

const REPO = 'octo-org/hello-world';
const ISSUE = 7;
const APP_ID = '424242';
const INSTALLATION = 7001;
const QUESTION = '@patchbay why does it crash on start?';
const ANSWER = 'It read a file that is not there. Fixed in the next version.';

async function demo() {
  const url = new URL(process.argv[2] ?? process.env.PATCHBAY_URL ?? 'http://127.0.0.1:8787').origin;
  await mustAnswer(url);
  const token = adminToken();
  // Not before this line: their packages come with `npm run dev`.
  const support = await load('api', 'fake-agent', 'fake-github', 'keys', 'payloads', 'until');

  const undo = [];
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => stop.abort(new Error('interrupted')));
  try {
    await play({ url, undo, signal: stop.signal, ...support, ...support.client(url, token) });
    step('Done. The event stays in the list: GET /api/v1/events');
  } finally {
    await cleanUp(undo);
  }
}

async function play({ url, undo, signal, ok, api, ...support }) {
  const { appKey, answer, deliver, payloads, startFakeAgent, startFakeGitHub } = support;
  const until = (what, probe) => support.until(what, probe, { signal });

  const key = appKey();
  const github = await startFakeGitHub({ appId: APP_ID, publicKey: key.publicKey });
  undo.push(['fake GitHub', () => github.close()]);
  github.addRepository(REPO, { installation: INSTALLATION, permissions: { alice: 'write' }, issues: [ISSUE] });
  const agent = await startFakeAgent();
  undo.push(['fake agent', () => agent.close()]);
  step(`A fake GitHub listens on ${github.url}, a fake agent on ${agent.url}`);

  // An owner of its own keeps the demo away from other connections and destinations of this server.
  const owner = `demo-${randomUUID()}`;
  const secret = randomBytes(24).toString('hex');
  const connection = await ok('POST', '/api/v1/connections', {
    integration: 'github', name: 'demo', owner,
    config: { app_id: APP_ID, private_key: key.pkcs1, base_url: github.url, webhook_secret: secret },
  });
  undo.push([`connection ${connection.id}`, () => ok('DELETE', `/api/v1/connections/${connection.id}`)]);
  step(`Connected to it as App ${APP_ID}: ${connection.id}`);

  const destination = await ok('POST', '/api/v1/destinations', {
    name: 'demo agent', url: agent.url, event_types: ['github.*'], role: 'agent', owner,
  });
  undo.push([`destination ${destination.id}`, () => ok('DELETE', `/api/v1/destinations/${destination.id}`)]);
  agent.secret = destination.secret;
  step(`Events go to the agent: ${destination.id}`);

  const [event, payload] = payloads.issueComment({ repo: REPO, issue: ISSUE, installation: INSTALLATION, user: 'alice', text: QUESTION });
  const webhook = { secret, event, payload, id: randomUUID() };
  const send = (changes) => deliver(`${url}${connection.webhook_path}`, { ...webhook, ...changes });

  const forged = await send({ secret: 'a guess' });
  expect(forged.status === 401, `a forged webhook was answered ${forged.status}`);
  step(`A webhook with a wrong signature is refused: 401 ${forged.body.code}`);

  const accepted = await send();
  expect(accepted.status === 202, `the webhook was answered ${accepted.status}: ${accepted.bytes}`);
  const { id, trace_id: trace } = accepted.body;
  step(`alice writes "${QUESTION}" on ${REPO}#${ISSUE}: ${id}, trace ${trace}`);

  const asked = await until('the agent to be asked', () => {
    expect(agent.rejected.length === 0, `the agent could not verify a delivery: ${agent.rejected[0]?.error.message}`);
    return agent.deliveries[0];
  });
  const { conversation_id: conversation, context } = asked.message.data;
  step(`The agent is asked (${asked.message.type}, signature checked): ${conversation}, "${context.text}" by ${context.user}`);

  const reply = await answer(asked, { status: 'completed', message: ANSWER }, { origin: url });
  expect(reply.status === 202, `the answer was answered ${reply.status}: ${JSON.stringify(reply.body)}`);
  const [{ id: run, action }] = reply.body.runs;
  step(`The agent answers through the callback: ${run}, ${action}`);

  const [comment] = await until('the comment', async () => {
    const { status, error } = await ok('GET', `/api/v1/runs/${run}`);
    expect(!['failed', 'ambiguous'].includes(status), `the run ended as ${status}: ${JSON.stringify(error)}`);
    const comments = github.comments(REPO, ISSUE);
    return status === 'succeeded' && comments.length > 0 && comments;
  });
  expect(comment.body.startsWith(ANSWER), `the comment says ${comment.body}`);
  step(`The fake GitHub has it as a comment of the App: ${comment.html_url}`);

  const again = await send();
  expect(again.body.duplicate === true && again.body.id === id, `a redelivery was answered ${again.bytes}`);
  step(`The same webhook once more stores nothing: duplicate of ${again.body.id}`);

  const { data: events } = await ok('GET', `/api/v1/events?connection_id=${connection.id}`);
  expect(events.length === 1 && events[0].id === id, `${events.length} events are listed`);
  // A destination without an owner, left by somebody who tried things out, gets the event too.
  const { data: all } = await ok('GET', `/api/v1/deliveries?event_id=${id}`);
  const deliveries = all.filter((delivery) => delivery.destination_id === destination.id);
  expect(deliveries.length === 1 && deliveries[0].status === 'delivered', `the deliveries are ${JSON.stringify(deliveries)}`);
  expect(github.comments(REPO, ISSUE).length === 1, 'the comment was posted twice');
  step(`The hub lists one event and one delivery: ${deliveries[0].id} ${deliveries[0].status}`);
}

async function mustAnswer(url) {
  const reply = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
  if (!reply) throw new Error(`nothing answers on ${url}: start the server with \`npm run dev\` in another terminal`);
  if (!reply.ok) throw new Error(`the server on ${url} is not ready (${reply.status}): ${await reply.text()}`);
}

function adminToken() {
  const file = at('.dev.vars');
  const vars = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {};
  const token = process.env.PATCHBAY_ADMIN_TOKEN ?? vars.PATCHBAY_ADMIN_TOKEN;
  if (!token) throw new Error(`there is no PATCHBAY_ADMIN_TOKEN in ${file}: \`npm run dev\` writes one`);
  return token;
}

/** Everything that these modules of tests/support export. */
async function load(...names) {
  const modules = await Promise.all(names.map((name) => import(`../tests/support/${name}.mjs`)));
  return Object.assign({}, ...modules);
}

/** Undoes all, newest first, also where one of it fails; says what is left. */
async function cleanUp(undo) {
  for (const [name, job] of undo.reverse()) {
    try {
      await job();
      console.log(`    removed: ${name}`);
    } catch (error) {
      console.error(`    NOT removed: ${name}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}

let steps = 0;
const step = (text) => console.log(`${String((steps += 1)).padStart(2)}. ${text}`);

function expect(truth, otherwise) {
  if (!truth) throw new Error(otherwise);
}

await main(import.meta.url, demo);
