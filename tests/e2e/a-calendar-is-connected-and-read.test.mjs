// From a posted definition to the events of a calendar: published, connected by its user's consent at a certified
// authorization server, read, refreshed, read again. The definition is that of the integration service's own example; only
// its addresses are those of this test's servers, and `extends` says what its method sends.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { CLIENT, browse, startAuthorizationServer } from '../support/authorization-server.mjs';
import { described } from '../support/described.mjs';
import { startHub } from '../support/hub.mjs';
import { startServer } from '../support/server.mjs';

const REDIRECT = 'https://your-app.example.com/oauth/callback';
const SCOPE = 'https://www.googleapis.com/auth/calendar.readonly';
const server = await startAuthorizationServer({
  redirectUris: [REDIRECT], scopes: [SCOPE], clientAuth: 'client_secret_basic',
});
const event = {
  id: 'e1', summary: 'Standup', description: 'Daily',
  start: { dateTime: '2023-09-04T09:00:00Z', timeZone: 'UTC' }, end: { dateTime: '2023-09-04T09:15:00Z', timeZone: 'UTC' },
};
const bearers = [];
const calendar = await startServer(async (request) => {
  const { method, path, query, headers } = request;
  assert.equal(described('google-calendar', request), 'events.list');
  const token = await server.provider.AccessToken.find((headers.authorization ?? '').replace(/^Bearer /, ''));
  if (!token?.isValid) return { status: 401, body: { error: { errors: [{ reason: 'authError' }], message: 'Invalid Credentials' } } };
  assert.equal(token.scope, SCOPE);
  assert.equal(`${method} ${path}`, 'GET /calendar/v3/calendars/primary/events');
  assert.deepEqual(Object.fromEntries(query), {
    timeMin: '2023-09-01T00:00:00Z', timeMax: '2023-09-30T23:59:59Z', maxResults: '5', singleEvents: 'true', orderBy: 'startTime',
  });
  bearers.push(headers.authorization);
  return { status: 200, body: { kind: 'calendar#events', items: [event] } };
});
const hub = await startHub({ GOOGLE_CALENDAR_INTEGRATION_API_BASE_URL: calendar.url });
after(async () => {
  await hub.close();
  server.close();
  calendar.close();
});

const definition = JSON.parse(readFileSync(new URL('../data/definitions/google-calendar.json', import.meta.url)));
const parameters = { calendarId: 'primary', timeMin: '2023-09-01T00:00:00Z', timeMax: '2023-09-30T23:59:59Z', maxResults: 5 };

test('the example runs as it is written', async () => {
  const oauth2Config = {
    ...definition.oauth2Config,
    authorizationUrl: `${server.url}/oauth/authorize`, tokenUrl: `${server.url}/oauth/token`, refreshUrl: `${server.url}/oauth/token`,
  };
  const published = await hub.ok('POST', '/api/v1/integration-definitions', { ...definition, extends: 'google-calendar', oauth2Config });
  assert.deepEqual([published.status, published.warnings], ['PUBLISHED', undefined]);
  const config = { clientId: CLIENT.client_id, clientSecret: CLIENT.client_secret, redirectUri: REDIRECT, scope: SCOPE };
  const instance = await hub.ok('POST', '/api/v1/integration-instances', {
    integrationDefinitionId: published.id, name: 'My Google Calendar', config,
  });
  assert.match(instance.id, /^int_inst_/);
  assert.deepEqual([instance.integrationDefinitionId, instance.name, instance.status], [published.id, 'My Google Calendar', 'PENDING_AUTHENTICATION']);
  assert.ok(Math.abs(Date.parse(instance.createdAt) - Date.now()) < 60_000);
  assert.ok(!JSON.stringify(instance).includes(CLIENT.client_secret));
  const of = `/api/v1/integration-instances/${instance.id}`;
  const early = await hub.api('POST', `${of}/methods/listEvents/execute`, { parameters });
  assert.deepEqual([early.status, early.body.code], [409, 'REAUTH_REQUIRED']);

  const started = await hub.ok('POST', `${of}/auth/oauth2/start`, { redirectUri: REDIRECT });
  const [endpoint, query] = started.authorizationUrl.split('?');
  assert.equal(endpoint, `${server.url}/oauth/authorize`);
  const [challenge] = /(?<=code_challenge=)[\w-]{43}/.exec(query);
  const encoded = encodeURIComponent;
  assert.equal(query, `client_id=${CLIENT.client_id}&redirect_uri=${encoded(REDIRECT)}&response_type=code&scope=${encoded(SCOPE)}`
    + `&access_type=offline&prompt=consent&state=${started.state}&code_challenge=${challenge}&code_challenge_method=S256`);

  const back = new URL(await browse(started.authorizationUrl, REDIRECT));
  const answer = { code: back.searchParams.get('code'), state: back.searchParams.get('state') };
  const done = await hub.ok('POST', `${of}/auth/oauth2/callback`, answer);
  assert.deepEqual([done.status, done.integrationInstanceId], ['SUCCESS', instance.id]);

  const executed = await hub.api('POST', `${of}/methods/listEvents/execute`, { parameters });
  assert.deepEqual([executed.status, executed.body], [200, { status: 'SUCCESS', data: { events: [event] } }]);

  // The token ends before its time; the call that finds out brings a new one from the rotated refresh token.
  await (await server.provider.AccessToken.find(bearers[0].replace('Bearer ', ''))).destroy();
  const later = await hub.api('POST', `${of}/methods/listEvents/execute`, { parameters });
  assert.equal(later.status, 200, JSON.stringify(later.body));
  assert.equal(new Set(bearers).size, 2);
  assert.deepEqual(server.requests.filter(({ path }) => path === '/oauth/token').length, 2);
  const used = await hub.ok('GET', '/api/v1/audit?act=credential.used');
  assert.deepEqual(used.data.map(({ actor, subject }) => [actor, subject]), Array(2).fill(['admin', instance.id.replace('int_inst_', 'con_')]));
  const said = JSON.stringify([used, executed.body, later.body, hub.logs()]);
  for (const bearer of bearers) assert.ok(!said.includes(bearer.replace('Bearer ', '')));
});
