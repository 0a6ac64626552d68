// Many jobs, a few at a time.

/** Runs `job` on every item of an iterable, `width` of them at once; fails with the first that fails. */
export async function inParallel(width, items, job) {
  const queue = items[Symbol.iterator]();
  async function work() {
    for (let { done, value } = queue.next(); !done; { done, value } = queue.next()) await job(value);
  }
  await Promise.all(Array.from({ length: width }, work));
}
