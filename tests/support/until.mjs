// Waiting for what happens in the background: asking again until it has, never sleeping for a guess.
import { setTimeout as sleep } from 'node:timers/promises';

const PAUSE_MS = 50;

/**
 * Calls `probe` until it gives something truthy, and gives that. Throws, with what the probe gave or
 * threw last, once `seconds` have passed. `signal` ends the wait early.
 */
export async function until(what, probe, { seconds = 30, signal } = {}) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    let last;
    try {
      const found = await probe();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`waited ${seconds} s for ${what}; last seen: ${shown(last)}`, { cause: last instanceof Error ? last : undefined });
    }
    await sleep(PAUSE_MS);
    signal?.throwIfAborted();
  }
}

const shown = (value) => (value instanceof Error ? value.message : JSON.stringify(value));
