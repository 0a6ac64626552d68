// The known answers of tests/data/signature-vectors.json as requests to a hub, and what the engine itself says about
// them when it runs natively.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { send } from './client.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = fileURLToPath(new URL('../data/signature-vectors.json', import.meta.url));

/** Every entry of the file. */
export const vectors = JSON.parse(readFileSync(file, 'utf8'));

/** A folder's manifest. */
export const manifestOf = (service) => JSON.parse(readFileSync(new URL(`../../integrations/${service}/manifest.json`, import.meta.url), 'utf8'));

/**
 * What becomes of each request or handshake that comes now, for a connection with this tolerance, by the same engine
 * outside of workerd: `accepted`, `answered:STATUS` or `refused:STATUS` by id.
 */
export async function nativeVerdicts(toleranceSeconds) {
  const args = ['run', '--quiet', '--example', 'signature-vectors', '--', '--verdicts', '--tolerance', String(toleranceSeconds), file];
  const { stdout } = await promisify(execFile)('cargo', args, { cwd: root, maxBuffer: 16 << 20 });
  return JSON.parse(stdout);
}

/** What a connection is made from for an entry; its window is as wide as it goes unless `config` says otherwise. */
export function connectionFor(entry, config = {}) {
  const { webhook } = manifestOf(entry.service);
  const [current, previous] = secretsOf(entry);
  const settings = Object.entries(webhook.settings ?? {})
    // Some entries do not say what is no matter to them: which client would ask for the keys that they bring along, say.
    .map(([name, { required }]) => [name, entry.options?.[name] ?? (required || name === 'client_id' ? `${name} of ${entry.id}` : undefined)])
    .filter(([, value]) => value !== undefined);
  return {
    integration: entry.service,
    name: entry.id,
    config: {
      ...Object.fromEntries(settings),
      ...(variantOf(entry, webhook) && { variant: variantOf(entry, webhook) }),
      ...(current !== undefined && { webhook_secret: current }),
      ...(previous !== undefined && { webhook_secret_previous: previous }),
      webhook_url: entry.url,
      ...config,
    },
  };
}

/** The configured secrets or public keys, current first. */
export function secretsOf({ options, public_key: publicKey, secret }) {
  const found = options?.signing_token ?? publicKey ?? secret ?? [];
  return typeof found === 'string' ? [found] : Object.values(found);
}

/** An entry for a scheme that is off unless chosen is an entry for a connection that chose it. */
function variantOf({ scheme }, { verification }) {
  const variants = Array.isArray(verification) ? verification : [];
  return variants.find(({ name, only_by_setting: chosen }) => chosen && scheme.replaceAll('_', '-').endsWith(name))?.name;
}

/** Why a hub cannot be asked about an entry, if it cannot. */
export function obstacle(entry) {
  if (entry.kind === 'qsh' || entry.kind === 'primitive') return 'no request';
  const { methods = ['POST'] } = manifestOf(entry.service).webhook;
  // The hub's addresses take deliveries by these two alone.
  if (entry.kind === 'request' && !(methods.includes(entry.method) && ['GET', 'POST'].includes(entry.method))) return 'no delivery by this method';
  if (secretsOf(entry).some((secret) => typeof secret !== 'string' || secret === '')) return 'no secret to configure';
  return undefined;
}

/** Sends an entry's request to a connection's address, exactly as it is. */
export function sendVector(origin, path, entry, { headers = entry.headers } = {}) {
  const { search } = new URL(entry.url);
  return send(`${origin}${path}${search}`, { method: entry.method, headers, body: bodyOf(entry) });
}

function bodyOf({ method, body, body_base64: encoded }) {
  if (encoded !== undefined && encoded !== null) return Buffer.from(encoded, 'base64');
  return ['GET', 'HEAD'].includes(method) && !body ? undefined : body;
}

/** The key documents that an entry brings along: by address `{text, answer}`, where `answer(json)` gives the reply's text. */
export function keyDocuments({ service, certs, jwks }) {
  const found = new Map(Object.entries(certs ?? {}).map(([url, pem]) => [url, { text: pem, answer: () => pem }]));
  if (!jwks) return found;
  const text = JSON.stringify({ keys: jwks });
  for (const { keys } of schemesOf(manifestOf(service).webhook)) {
    if (keys?.jwks) found.set(keys.jwks, { text, answer: () => text });
    if (keys?.by_key_id) {
      const answer = ({ key_id: wanted }) => {
        const key = jwks.find(({ kid }) => kid === wanted);
        return key && JSON.stringify({ key });
      };
      found.set(keys.by_key_id.url, { text, answer });
    }
  }
  return found;
}

/** The schemes of a manifest's `webhook`. */
export const schemesOf = ({ verification }) => (Array.isArray(verification) ? verification.map(({ scheme }) => scheme) : [verification]);

/**
 * Stands in for the internet: the hub's requests to https are answered by `documents` (by address, as `keyDocuments` gives
 * them) or with 404, and remembered. Undo with `restore`.
 */
export function fakeInternet() {
  const real = globalThis.fetch;
  const internet = { documents: new Map(), requests: [], restore: () => { globalThis.fetch = real; } };
  globalThis.fetch = async (input, init) => {
    const url = String(input?.url ?? input);
    if (!url.startsWith('https://')) return real(input, init);
    const request = new Request(input, init);
    internet.requests.push({ method: request.method, url });
    const text = await request.text();
    const answer = internet.documents.get(url)?.answer(text && JSON.parse(text));
    return answer ? new Response(answer) : new Response('nothing is here', { status: 404 });
  };
  return internet;
}

/** The fixtures of every integration's folder: `{service, name, ...}` and what the file says. */
export function fixtures() {
  const folder = new URL('../../integrations/', import.meta.url);
  return services().flatMap((service) => {
    const own = new URL(`${service}/fixtures/`, folder);
    const files = existsSync(own) ? readdirSync(own).filter((file) => file.endsWith('.json')).sort() : [];
    return files.map((file) => ({ service, name: `${service}/${file.slice(0, -5)}`, ...JSON.parse(readFileSync(new URL(file, own), 'utf8')) }));
  });
}

/** The names of the integrations that take webhooks. */
export function services() {
  const all = readdirSync(new URL('../../integrations/', import.meta.url), { withFileTypes: true });
  return all.filter((entry) => entry.isDirectory()).map(({ name }) => name).filter((name) => manifestOf(name).webhook).sort();
}

/** What a connection is made from for a fixture. */
export function connectionForFixture({ service, name, secrets: [current, previous] = [], options = {}, webhook_url: url }, config = {}) {
  const required = Object.entries(manifestOf(service).webhook.settings ?? {}).filter(([, setting]) => setting.required);
  return {
    integration: service,
    name,
    config: {
      ...Object.fromEntries(required.map(([setting]) => [setting, `${setting} of ${name}`])),
      ...options,
      ...(current && { webhook_secret: current }),
      ...(previous && { webhook_secret_previous: previous }),
      ...(url && { webhook_url: url }),
      ...config,
    },
  };
}

/** Sends a fixture's request to a connection's address. */
export function sendFixture(origin, path, { request: { method, query, headers = [], ...rest } }) {
  return send(`${origin}${path}${query ? `?${query}` : ''}`, { method, headers, body: bodyOf({ method, ...rest }) });
}
