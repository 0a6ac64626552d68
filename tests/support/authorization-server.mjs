// A certified authorization server (npm's `oidc-provider`) where GitLab's endpoints are: code challenges are required,
// refresh tokens rotate, and whoever comes is signed in and consents at once.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

export const CLIENT = { client_id: 'test-client', client_secret: 'test-client-secret-0123456789' };

/** `redirectUris` are those of the client; `accessTtl` is how many seconds an access token lasts. */
export async function startAuthorizationServer({
  redirectUris, accessTtl = 3600, account = '4711', scopes = ['api'], clientAuth = 'client_secret_post',
}) {
  const requests = [];
  let handle;
  const server = createServer((request, response) => {
    requests.push({ method: request.method, path: request.url.split('?')[0] });
    handle(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  const provider = new Provider(url, {
    clients: [{ ...CLIENT, redirect_uris: redirectUris, grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: clientAuth, application_type: 'web' }],
    scopes,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
      grant.addOIDCScope(scopes.join(' '));
      await grant.save();
      return grant;
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: ['test-cookie-key'] },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    routes: { authorization: '/oauth/authorize', token: '/oauth/token', revocation: '/oauth/revoke' },
    ttl: { AccessToken: accessTtl, RefreshToken: 86_400, AuthorizationCode: 60, Grant: 86_400, Session: 600, Interaction: 600 },
  });
  const callback = provider.callback();
  handle = async (request, response) => {
    if (request.url.startsWith('/interaction/')) {
      return provider.interactionFinished(request, response, { login: { accountId: account }, consent: {} });
    }
    if (request.url === '/api/v4/user') {
      const token = await provider.AccessToken.find((request.headers.authorization ?? '').replace(/^Bearer /, ''));
      response.writeHead(token ? 200 : 401, { 'content-type': 'application/json' });
      return response.end(JSON.stringify(token ? { id: Number(token.accountId), username: 'mona' } : { message: '401 Unauthorized' }));
    }
    return callback(request, response);
  };

  return {
    url,
    requests,
    provider,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Follows a person's browser from `url` until it is sent to `until`; gives that last address. */
export async function browse(url, until) {
  const cookies = new Map();
  for (let step = 0; step < 10; step += 1) {
    if (url.startsWith(until)) return url;
    const reply = await fetch(url, { redirect: 'manual', headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') } });
    for (const line of reply.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split(/=(.*)/s);
      cookies.set(name, value);
    }
    const next = reply.headers.get('location');
    if (!next) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
    url = new URL(next, url).href;
  }
  throw new Error(`never came to ${until}`);
}
