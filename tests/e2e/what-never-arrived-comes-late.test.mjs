// GitHub sends a delivery once. What did not arrive is found in its log, and becomes the event that it would have been.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { startFakeAgent } from '../support/fake-agent.mjs';
import { startFakeGitHub } from '../support/fake-github.mjs';
import { startHub } from '../support/hub.mjs';
import { appKey } from '../support/keys.mjs';
import { inParallel } from '../support/parallel.mjs';
import { deliver, payloads } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const APP_ID = '616161';
const ALL = 100;
const HOUR_AGO = Date.now() - 3_600_000;

const key = appKey();
const github = await startFakeGitHub({ appId: APP_ID, publicKey: key.publicKey });
const program = await startFakeAgent();
const hub = await startHub({ GITHUB_APP_ID: APP_ID, GITHUB_APP_PRIVATE_KEY: key.pkcs1, GITHUB_API_BASE_URL: github.url });
after(async () => {
  await hub.close();
  github.close();
  program.close();
});

const sent = Array.from({ length: ALL }, (_, n) => {
  const [event, payload] = payloads.issueComment({ user: 'alice', repo: 'octo-org/app', issue: 1, text: `number ${n}`, installation: 11 });
  return { guid: randomUUID(), event, payload, at: new Date(HOUR_AGO + n * 1_000) };
});
const lost = sent.filter((_, n) => n % 10 === 7);

test('ten of a hundred that were lost come late, once, and reach the program', async () => {
  ({ secret: program.secret } = await hub.ok('POST', '/api/v1/destinations', { name: 'program', url: program.url, event_types: ['github.*'] }));
  for (const one of sent) github.log(one);
  await inParallel(8, sent.filter((one) => !lost.includes(one)), async ({ guid, ...delivery }) => {
    const { status } = await deliver(`${hub.url}/api/integration/github/events`, { id: guid, secret: hub.settings.GITHUB_WEBHOOK_SECRET, ...delivery });
    assert.equal(status, 202);
  });

  const poll = await hub.ok('POST', '/api/v1/polls', { integration: 'github', trigger: 'lost_app_deliveries', backfill: ALL });
  const told = () => new Set(program.deliveries.map(({ message }) => message.id ?? message.data?.event?.id ?? message.data?.id));
  await until('all to arrive', async () => {
    await hub.tick();
    return program.deliveries.length >= ALL;
  });
  await until('the look to be over', async () => (await hub.ok('POST', `/api/v1/polls/${poll.id}/run`, {})).catching_up === false);

  assert.equal(told().size, ALL);
  const asked = github.requestsTo('GET', /\/app\/hook\/deliveries\/\d+$/);
  assert.equal(asked.length, lost.length, 'only what is missing is asked for');
  assert.equal((await hub.ok('GET', `/api/v1/polls/${poll.id}`)).items_seen, lost.length);
  const { data: [late] } = await hub.ok('GET', `/api/v1/events?q=${lost[0].guid}`);
  assert.equal(late.type, 'github.issue_comment.created');
  const { headers } = await hub.ok('GET', `/api/v1/events/${late.id}`);
  assert.equal(headers['x-patchbay-recovered-by'], poll.id);
});
