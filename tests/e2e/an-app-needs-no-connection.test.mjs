// With the App's settings in the environment one webhook URL serves every installation of the App.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { answer, startFakeAgent } from '../support/fake-agent.mjs';
import { startFakeGitHub } from '../support/fake-github.mjs';
import { startHub } from '../support/hub.mjs';
import { appKey } from '../support/keys.mjs';
import { deliver, payloads } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const APP_ID = '515151';
const key = appKey();
const github = await startFakeGitHub({ appId: APP_ID, publicKey: key.publicKey });
const agent = await startFakeAgent();
const hub = await startHub({ GITHUB_APP_ID: APP_ID, GITHUB_APP_PRIVATE_KEY: key.pkcs1, GITHUB_API_BASE_URL: github.url, PATCHBAY_AGENT_MENTION: '@helper', PATCHBAY_AGENT_LABEL: 'ask-helper' });
after(async () => {
  await hub.close();
  github.close();
  agent.close();
});

const installations = { 'first-org/app': 11, 'second-org/app': 22 };
for (const [repo, installation] of Object.entries(installations)) {
  github.addRepository(repo, { installation, permissions: { alice: 'admin' }, issues: [1, 2] });
}
({ secret: agent.secret } = await hub.ok('POST', '/api/v1/destinations', {
  name: 'agent', url: agent.url, event_types: ['github.*'], role: 'agent',
}));

async function ask(what, fields) {
  const [event, payload] = payloads[what]({ user: 'alice', installation: installations[fields.repo], ...fields });
  const sent = await deliver(`${hub.url}/api/integration/github/events`, { secret: hub.settings.GITHUB_WEBHOOK_SECRET, event, payload });
  assert.equal(sent.status, 202, String(sent.bytes));
  return sent.body.id;
}

const asked = (id) => agent.deliveries.find(({ message }) => message.data.event.id === id);

test('each installation is answered with a token of its own', async () => {
  for (const repo of Object.keys(installations)) {
    const id = await ask('issueComment', { repo, issue: 1, text: '@helper please' });
    const question = await until('the agent to be asked', () => asked(id));
    const reply = await answer(question, { status: 'completed', message: `Hello ${repo}` }, { origin: hub.url });
    assert.equal(reply.status, 202, JSON.stringify(reply.body));
    await until('the comment', () => github.comments(repo, 1).length === 1);
  }

  const posted = github.requestsTo('POST', /\/comments$/);
  assert.deepEqual(posted.map(({ reply }) => reply.status), [201, 201]);
  assert.notEqual(posted[0].headers.authorization, posted[1].headers.authorization);
});

test('the name and the label that ask the agent are settings', async () => {
  const repo = 'first-org/app';
  const other = await ask('issueComment', { repo, issue: 2, text: '@patchbay please' });
  const otherLabel = await ask('issueLabeled', { repo, issue: 2, label: 'patchbay' });
  const label = await ask('issueLabeled', { repo, issue: 2, label: 'ask-helper' });

  const question = await until('the agent to be asked', () => asked(label));

  assert.equal(question.message.type, 'conversation.started');
  assert.deepEqual([asked(other), asked(otherLabel)], [undefined, undefined]);
});
