// Actions are called and answered: those of the folders, and those of definitions posted at run time. The services are
// doubles that check what they receive.
import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { described } from '../support/described.mjs';
import { startHub } from '../support/hub.mjs';
import { startServer } from '../support/server.mjs';

const service = await startServer((request) => answer(request));
const elsewhere = await startServer((request) => ({ status: 200, body: { authorization: request.headers.authorization ?? null } }));
const hub = await startHub({ GOOGLE_CALENDAR_API_BASE_URL: service.url, PATCHBAY_SECRET_MY_API_KEY: 'test-referenced-key' });
after(async () => {
  await hub.close();
  service.close();
  elsewhere.close();
});

let busy = 0;

async function answer(request) {
  const { method, path, query, headers, body } = request;
  const route = `${method} ${path}`;
  if (route === 'GET /test') return { status: 200, body: { authorization: headers.authorization ?? null } };
  if (route === 'GET /away') return { status: 302, headers: { location: `${elsewhere.url}/there` }, body: '' };
  if (route === 'GET /busy') return (busy += 1) < 2 ? { status: 429, headers: { 'retry-after': '0.2' }, body: {} } : { status: 200, body: { busy } };
  if (route === 'GET /large') return { status: 200, body: { text: 'x'.repeat(11 * 1024 * 1024) } };
  if (route === 'POST /createContact') {
    assert.equal(headers.authorization, 'Bearer test-crm-key');
    assert.equal(headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(body), {
      contact: {
        first_name: 'Jane', last_name: 'Smith', email_address: 'jane.smith@example.com', phone_number: '+1-555-123-4567',
        organization: 'Acme Inc.', job_title: 'Product Manager', custom_fields: { source: 'integration_service' },
      },
    });
    const contact = { first_name: 'Jane', last_name: 'Smith', email_address: 'jane.smith@example.com' };
    return { status: 201, body: { contact_id: 'cont_12345', contact, created_at: '2023-09-15T10:30:00Z' } };
  }
  if (path.startsWith('/rest/api/3/')) {
    assert.equal(headers.authorization, `Basic ${Buffer.from('test@example.com:test-token').toString('base64')}`);
    return described('jira', request) === 'createIssue'
      ? { status: 201, body: { id: '10000', key: 'TEST-1', self: `${service.url}/rest/api/3/issue/10000` } }
      : { status: 201, body: { id: '10001', body: JSON.parse(body).body } };
  }
  if (route === 'GET /calendar/v3/calendars/primary/events') {
    assert.equal(described('google-calendar', request), 'events.list');
    assert.equal(headers.authorization, 'Bearer test-calendar-token');
    assert.deepEqual(Object.fromEntries(query), {
      timeMin: '2023-09-01T00:00:00Z', timeMax: '2023-09-30T23:59:59Z', maxResults: '5', singleEvents: 'true', orderBy: 'startTime',
    });
    return { status: 200, body: { kind: 'calendar#events', items: [{ id: 'e1', summary: 'Standup', start: { dateTime: '2023-09-04T09:00:00Z' } }] } };
  }
  return { status: 404, body: { message: `nothing at ${route}` } };
}

const connect = (integration, config) => hub.ok('POST', '/api/v1/connections', { integration, config });
const act = (connection, action, inputs, options) => hub.api('POST', `/api/v1/connections/${connection.id}/actions/${action}`, { inputs }, options);
const execute = (connection, method, parameters, more = {}) => hub.api(
  'POST', `/api/v1/integration-instances/${connection.id.replace('con_', 'int_inst_')}/methods/${method}/execute`, { parameters, ...more },
);
const publish = (definition) => hub.ok('POST', '/api/v1/integration-definitions', definition);

suite('an API is fetched in the three ways of api-fetch', () => {
  const url = `${service.url}/test`;

  test('without a credential', async () => {
    const { status, body } = await hub.api('POST', '/api/v1/integrations/api-fetch/actions/call_api', { inputs: { url } });
    assert.deepEqual([status, body.data], [200, { data: { authorization: null } }]);
  });

  test('with HTTP Basic', async () => {
    const connection = await connect('api-fetch-basic', { host: service.url, user_name: 'test_user', password: 'test_password' });
    const { body } = await act(connection, 'call_api', { url });
    assert.equal(body.data.data.authorization, `Basic ${Buffer.from('test_user:test_password').toString('base64')}`);
  });

  test('with a key, which goes to no other server, nor along with a redirect', async () => {
    const connection = await connect('api-fetch-key', { host: service.url, api_key: 'test_api_key' });

    const there = await act(connection, 'call_api', { url });
    const refused = await act(connection, 'call_api', { url: `${elsewhere.url}/test` });
    const away = await act(connection, 'call_api', { url: `${service.url}/away` });

    assert.equal(there.body.data.data.authorization, 'Bearer test_api_key');
    assert.deepEqual([refused.status, refused.body.code], [403, 'SSRF_BLOCKED']);
    assert.equal(away.body.data.data.authorization, null);
  });

  test('with a reference to a key that stands in the settings, and shows nowhere', async () => {
    const connection = await connect('api-fetch-key', { host: service.url, api_key: 'secret://my-api-key' });
    const called = await act(connection, 'call_api', { url });
    const rehearsed = await hub.api('POST', `/api/v1/connections/${connection.id}/actions/call_api?dry_run=true`, { inputs: { url } });

    // The service says what it was sent; the hub itself never does.
    assert.equal(called.body.data.data.authorization, 'Bearer test-referenced-key');
    assert.equal(rehearsed.body.requests[0].headers.authorization, 'Bearer [secret]');
    assert.ok(!JSON.stringify([connection, rehearsed.body, hub.logs()]).includes('test-referenced-key'));
  });

  test('a busy service is asked again, one that answers without end is cut off', async () => {
    const path = '/api/v1/integrations/api-fetch/actions/call_api';
    const { status, body } = await hub.api('POST', path, { inputs: { url: `${service.url}/busy` } });
    assert.deepEqual([status, body.data], [200, { data: { busy: 2 } }]);
    const run = await hub.ok('GET', `/api/v1/runs/${body.run_id}`);
    assert.deepEqual(run.attempts.map(({ reason }) => reason), ['rate limited', null]);

    const large = await hub.api('POST', path, { inputs: { url: `${service.url}/large` } });
    assert.deepEqual([large.status, large.body.code], [502, 'UPSTREAM_ERROR']);
  });
});

test('inputs are checked before anything is sent', async () => {
  const connection = await connect('google-calendar', { access_token: 'test-calendar-token' });
  const { status, body } = await execute(connection, 'listEvents', { timeMin: 'yesterday', timeMax: '2023-09-30T23:59:59Z' });

  assert.deepEqual([status, body.code], [400, 'VALIDATION_ERROR']);
  assert.deepEqual(body.errors.map(({ pointer, source }) => [pointer, source]), [['/timeMin', 'input']]);
});

test('the calendar example of source 003', async () => {
  const connection = await connect('google-calendar', { access_token: 'test-calendar-token' });
  const parameters = { calendarId: 'primary', timeMin: '2023-09-01T00:00:00Z', timeMax: '2023-09-30T23:59:59Z', maxResults: 5 };

  const { status, body } = await execute(connection, 'listEvents', parameters);

  assert.deepEqual([status, body], [200, { status: 'SUCCESS', data: { events: [{ id: 'e1', summary: 'Standup', start: { dateTime: '2023-09-04T09:00:00Z' } }] } }]);
});

const text = { type: 'string' };
const published = (name) => JSON.parse(readFileSync(new URL(`../data/definitions/${name}.json`, import.meta.url)));
const CRM = published('crm');
/** The published example under another name, or with other transforms. */
const crm = (name, transforms = {}) => ({ ...CRM, name, methods: [{ ...CRM.methods[0], ...transforms }] });
const jane = {
  firstName: 'Jane', lastName: 'Smith', email: 'jane.smith@example.com', phone: '+1-555-123-4567', company: 'Acme Inc.', title: 'Product Manager',
};

suite('a definition of source 003', () => {
  test('runs with its JavaScript transforms', async () => {
    const made = await publish(CRM);
    assert.deepEqual([made.status, made.warnings], ['PUBLISHED', undefined]);
    const connection = await connect(made.id, { baseUrl: service.url, apiKey: 'test-crm-key' });
    assert.ok(!JSON.stringify(connection).includes('test-crm-key'));

    const { status, body } = await execute(connection, 'createContact', jane);
    const wrong = await execute(connection, 'createContact', { ...jane, email: 'nobody' });

    assert.deepEqual([status, body], [200, {
      status: 'SUCCESS', data: { id: 'cont_12345', fullName: 'Jane Smith', email: 'jane.smith@example.com', createdAt: '2023-09-15T10:30:00Z' },
    }]);
    assert.deepEqual([wrong.status, wrong.body.errors[0].pointer], [400, '/email']);
  });

  test('cannot reach the network or hang from a transform', async () => {
    const made = await publish(crm('CRM that calls home', { requestTransform: 'async function transform() { return (await fetch("https://example.com")).status; }' }));
    const connection = await connect(made.id, { baseUrl: service.url, apiKey: 'test-crm-key' });

    const { status, body } = await execute(connection, 'createContact', jane);

    assert.deepEqual([status, body.code], [400, 'VALIDATION_ERROR'], JSON.stringify(body));
    assert.match(body.detail, /^the transform failed/);
  });

  test('without any URL is published with a warning, and says what is missing', async () => {
    const made = await publish({ name: 'No URL', methods: [{ name: 'listThings' }] });
    assert.equal(made.warnings.length, 1);

    const { status, body } = await hub.api('POST', '/api/v1/integrations/no-url/actions/listThings', { inputs: {} });

    assert.deepEqual([status, body.code], [404, 'METHOD_NOT_FOUND']);
  });

  test('of type webhook answers for verified deliveries alone', async () => {
    const made = await publish(published('stripe-webhook'));
    const secret = randomUUID();
    const connection = await connect(made.id, { webhookSecret: secret });
    const event = { id: 'evt_test_1', type: 'payment_intent.succeeded', data: { object: {} } };
    const payload = JSON.stringify(event);
    const deliver = (key) => fetch(`${hub.url}${connection.webhook_path}`, {
      method: 'POST', body: payload,
      headers: { 'content-type': 'application/json', 'x-signature': createHmac('sha256', key).update(payload).digest('hex') },
    });

    const forged = await deliver('another secret');
    const unknown = await execute(connection, 'processPaymentEvent', { event }, { metadata: { signature: 'anything' } });
    const genuine = await deliver(secret);
    const known = await execute(connection, 'processPaymentEvent', { event });

    assert.deepEqual([forged.status, genuine.status], [401, 202]);
    assert.deepEqual([unknown.status, unknown.body.code], [400, 'VALIDATION_ERROR']);
    assert.deepEqual([known.status, known.body], [200, { status: 'SUCCESS', data: { processed: true, eventId: 'evt_test_1' } }]);
  });
});

test("source 002's config.json is taken; its actions say that nothing is sent", async () => {
  const made = await publish({
    name: 'my-integration', version: '0.1.0', description: 'Integration with My Service', entry_point: 'my_integration.py',
    auth: { identifier: 'my_auth', type: 'Custom', fields: { type: 'object', properties: { user_name: { ...text, format: 'text' }, password: { ...text, format: 'password' } }, required: ['user_name', 'password'] } },
    actions: { my_action_handler: { description: 'Call an API.', input_schema: { type: 'object', properties: { url: text }, required: ['url'] }, output_schema: { type: 'object', properties: { data: { type: 'object' } }, required: ['data'] } } },
  });
  assert.ok(made.warnings.some((warning) => warning.includes('entry_point')));
  const connection = await connect('my-integration', { user_name: 'test_user', password: 'test_password' });
  assert.ok(!JSON.stringify(connection).includes('test_password'));

  const { status, body } = await act(connection, 'my_action_handler', { url: service.url });

  assert.deepEqual([status, body.code], [404, 'METHOD_NOT_FOUND']);
});

test("another framework's Jira connector, as a definition", async () => {
  const made = await publish(published('jira-connector'));
  const connection = await connect(made.id, { url: service.url, email: 'test@example.com', api_token: 'test-token' });

  const issue = await act(connection, 'create_issue', { summary: 'Test Issue', description: '# Why\n\nIt *fails*:\n\n- here\n- there' });
  const comment = await act(connection, 'add_comment', { issue_key: issue.body.data.key, body: 'Seen.' });

  assert.deepEqual([issue.status, issue.body.data], [200, { key: 'TEST-1', id: '10000' }]);
  assert.deepEqual([comment.status, comment.body.data], [200, { id: '10001' }]);
});

test('a dry run shows the request, without its secrets, and sends nothing', async () => {
  const connection = await connect('google-calendar', { access_token: 'test-calendar-token' });
  const before = service.requests.length;

  const path = `/api/v1/connections/${connection.id}/actions/listEvents?dry_run=true`;
  const { status, body } = await hub.api('POST', path, { inputs: { timeMin: '2023-09-01T00:00:00Z', timeMax: '2023-09-30T23:59:59Z' } });

  assert.equal(status, 200);
  assert.equal(body.requests[0].headers.authorization, 'Bearer [secret]');
  assert.match(body.requests[0].url, /maxResults=10/);
  assert.equal(service.requests.length, before);
});

test('the same Idempotency-Key is the same run', async () => {
  const made = await publish(crm('CRM once'));
  const connection = await connect(made.id, { baseUrl: service.url, apiKey: 'test-crm-key' });
  const headers = { 'idempotency-key': randomUUID() };
  const created = () => service.requests.filter(({ path }) => path === '/createContact').length;
  const before = created();

  const first = await act(connection, 'createContact', jane, { headers });
  const second = await act(connection, 'createContact', jane, { headers });
  const other = await act(connection, 'createContact', { ...jane, title: 'Other' }, { headers });

  assert.deepEqual([first.status, second.status, second.body.run_id], [200, 200, first.body.run_id]);
  assert.equal(second.headers.get('idempotency-replayed'), 'true');
  assert.deepEqual([other.status, other.body.code], [409, 'CONFLICT']);
  assert.equal(created(), before + 1);
});

test('several actions at once are answered one by one', async () => {
  const connection = await connect('api-fetch-key', { host: service.url, api_key: 'test_api_key' });
  const actions = [
    { action: 'call_api', inputs: { url: `${service.url}/test` } },
    { action: 'call_api', inputs: { url: `${service.url}/nothing` } },
    { action: 'no_such', inputs: {} },
  ];

  const { status, body } = await hub.api('POST', `/api/v1/connections/${connection.id}/actions`, { actions });

  assert.equal(status, 200);
  assert.deepEqual(body.results.map(({ status, error }) => [status, error?.code]), [
    ['succeeded', undefined], ['failed', 'UPSTREAM_ERROR'], ['failed', 'METHOD_NOT_FOUND'],
  ]);
});
