// How the fake GitHub knows who calls: the App by its JWT, an installation by a token minted for it.
import { randomBytes } from 'node:crypto';
import { errors, jwtVerify } from 'jose';

const MINUTE = 60;
const TOKEN_LENGTH = 520;
const UNDECODABLE = 'A JSON web token could not be decoded';

/**
 * Nothing if the `authorization` header holds a JWT that GitHub would take, else its complaint. See
 * https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
 */
export async function complaintAboutJwt(authorization, { appId, publicKey }) {
  const now = Math.floor(Date.now() / 1000);
  const [, jwt] = /^Bearer (\S+)$/.exec(authorization ?? '') ?? [];
  if (!jwt) return UNDECODABLE;
  try {
    const { payload } = await jwtVerify(jwt, publicKey, { algorithms: ['RS256'], issuer: String(appId), requiredClaims: ['iat', 'exp'] });
    if (!Number.isInteger(payload.iat) || payload.iat > now) {
      return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
    }
    if (payload.exp > now + 10 * MINUTE) return "'Expiration time' claim ('exp') is too far in the future";
  } catch (error) {
    if (error instanceof errors.JOSEError) return UNDECODABLE;
    throw error;
  }
}

/** The tokens of all installations. */
export function tokenBook(appId) {
  const tokens = new Map();
  return {
    mint(installation) {
      const token = statelessToken(appId);
      const expires = new Date(Date.now() + 60 * MINUTE * 1000);
      tokens.set(token, { installation, expires });
      return { token, expires_at: `${expires.toISOString().slice(0, 19)}Z` };
    },
    /** The installation whose live token the `authorization` header holds, if any. */
    installationOf(authorization) {
      const [, token] = /^(?:Bearer|token) (\S+)$/.exec(authorization ?? '') ?? [];
      const known = tokens.get(token);
      return known && known.expires > new Date() ? known.installation : undefined;
    },
    all: () => [...tokens.keys()],
    /** Ends all tokens before their time, as uninstalling the App does. */
    revoke() {
      for (const known of tokens.values()) known.expires = new Date(0);
    },
  };
}

/** Since 2026 a token is `ghs_APPID_JWT`, some hundred characters long and with dots in it. */
function statelessToken(appId) {
  const start = `ghs_${appId}_`;
  const random = randomBytes(TOKEN_LENGTH).toString('base64url');
  const [header, claims] = [random.slice(0, 60), random.slice(60, 260)];
  const head = `${start}${header}.${claims}.`;
  return head + random.slice(260, 260 + TOKEN_LENGTH - head.length);
}
