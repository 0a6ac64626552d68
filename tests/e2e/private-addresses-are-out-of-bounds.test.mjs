// A hub on the internet reaches nothing on its own machine or network, whatever it is told.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';

const ADDRESSES = [
  'http://127.0.0.1:8080/', 'https://localhost/', 'https://[::1]/', 'https://10.0.0.1/', 'https://169.254.169.254/latest/meta-data/',
  'https://192.168.1.1/', 'https://0x7f.1/', 'https://2130706433/', 'https://hub.internal/', 'https://[::ffff:127.0.0.1]/',
  'http://example.com/',
];

const hubs = {
  'that does not allow it': { PATCHBAY_ALLOW_PRIVATE_NETWORK: undefined },
  'that is reached from outside, though it allows it': { PATCHBAY_ALLOW_PRIVATE_NETWORK: 'true', PATCHBAY_PUBLIC_URL: 'https://hub.example.com' },
};
for (const [name, settings] of Object.entries(hubs)) {
  const hub = await startHub(settings);
  after(() => hub.close());

  test(`a hub ${name} refuses private addresses and plain http`, async () => {
    for (const url of ADDRESSES) {
      const made = {
        destination: await hub.api('POST', '/api/v1/destinations', { name: 'd', url, event_types: ['*'], role: 'subscriber' }),
        connection: await hub.api('POST', '/api/v1/connections', { integration: 'github', config: { app_id: '1', private_key: 'k', base_url: url } }),
      };
      for (const [what, { status, body }] of Object.entries(made)) {
        assert.deepEqual([status, body.code], [403, 'SSRF_BLOCKED'], `${what} ${url}: ${JSON.stringify(body)}`);
      }
    }
    const fine = await hub.api('POST', '/api/v1/destinations', { name: 'd', url: 'https://example.com/hook', event_types: ['*'], role: 'subscriber' });
    assert.equal(fine.status, 201);
  });
}
