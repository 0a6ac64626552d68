// An authorization server without leeway, with an API behind it: a refresh token is good once, and whoever comes with a used
// one loses the account for good. It checks what it is sent, and can be told to stumble.
import { randomUUID } from 'node:crypto';
import { startServer } from './server.mjs';

export const CLIENT = { clientId: 'test-client', clientSecret: 'test-client-secret' };
export const REDIRECT = 'https://your-app.example.com/oauth/callback';

/** Each account is named by the code that its consent gave. */
export async function startStrictProvider() {
  const accounts = new Map();
  const tokens = new Map();

  function give(name, account) {
    account.serial += 1;
    account.refresh = `refresh-${name}-${randomUUID()}`;
    const access = `access-${name}-${randomUUID()}`;
    tokens.set(access, name);
    account.access = access;
    // The first token ends at once, so that the next call must refresh.
    return { status: 200, body: { access_token: access, refresh_token: account.refresh, token_type: 'Bearer', expires_in: account.serial === 1 ? 1 : 3600 } };
  }
  const refused = (error) => ({ status: 400, body: { error } });

  const server = await startServer(({ method, path, headers, body }) => {
    if (method === 'POST' && path.startsWith('/token/')) {
      const form = new URLSearchParams(String(body));
      if (headers['content-type'] !== 'application/x-www-form-urlencoded') return refused('invalid_request');
      if (form.get('client_id') !== CLIENT.clientId || form.get('client_secret') !== CLIENT.clientSecret) return refused('invalid_client');
      if (form.get('grant_type') === 'authorization_code') {
        const name = form.get('code');
        if (form.get('redirect_uri') !== REDIRECT || !/^[\w-]{43}$/.test(form.get('code_verifier'))) return refused('invalid_request');
        if (accounts.has(name)) return refused('invalid_grant');
        accounts.set(name, { serial: 0, calls: 0 });
        return give(name, accounts.get(name));
      }
      if (form.get('grant_type') !== 'refresh_token') return refused('unsupported_grant_type');
      const name = path.slice('/token/'.length);
      const account = accounts.get(name);
      account.calls += 1;
      if (account.dead || form.get('refresh_token') !== account.refresh) {
        account.dead = true;
        return refused('invalid_grant');
      }
      return give(name, account);
    }
    if (method === 'GET' && path === '/whose') {
      const name = tokens.get((headers.authorization ?? '').replace(/^Bearer /, ''));
      const account = accounts.get(name);
      if (!account || account.dead || headers.authorization !== `Bearer ${account.access}`) return { status: 401, body: { message: 'no such token' } };
      return { status: 200, body: { name } };
    }
    return { status: 404, body: {} };
  });
  return { ...server, accounts };
}

/** Publishes the definition of one account's provider, and connects that account. `whose()` is an action with its tokens. */
export async function connectStrictly(hub, provider, name, owner) {
  const published = await hub.ok('POST', '/api/v1/integration-definitions', {
    name: `strict-${name}`, authType: 'oauth2', baseUrl: provider.url,
    oauth2Config: { authorizationUrl: `${provider.url}/authorize`, tokenUrl: `${provider.url}/token/${name}`, authStyle: 'body' },
    methods: [{ name: 'whose', request: { method: 'GET', path: '/whose' } }],
  });
  const config = { ...CLIENT, redirectUri: REDIRECT };
  const { id } = await hub.ok('POST', '/api/v1/integration-instances', { integrationDefinitionId: published.id, config, owner });
  const of = `/api/v1/integration-instances/${id}`;
  const { state } = await hub.ok('POST', `${of}/auth/oauth2/start`, { redirectUri: REDIRECT });
  await hub.ok('POST', `${of}/auth/oauth2/callback`, { code: name, state });
  const account = provider.accounts.get(name);
  return {
    id: id.replace('int_inst_', 'con_'),
    account,
    whose: (from = hub) => from.api('POST', `${of}/methods/whose/execute`, {}),
    health: (from = hub) => from.ok('GET', `${of}/health`),
  };
}
