// A GitHub App's key pair, made anew in each run: no key lies in the repository.
import { generateKeyPairSync } from 'node:crypto';

/** `pkcs1` is the form in which GitHub hands keys out, `pkcs8` what other tools make of it; both PEM. */
export function appKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = (type) => privateKey.export({ type, format: 'pem' });
  return { publicKey, pkcs1: pem('pkcs1'), pkcs8: pem('pkcs8') };
}
