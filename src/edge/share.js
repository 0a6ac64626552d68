// Writes of requests that an isolate serves beside each other, put into one transaction: while one is on its way to
// the database, those that come meanwhile wait, and the first of them to look again takes all along. Where the last turn had
// company, the next one gives it a moment to gather. A request that comes alone pays nothing for it.
//
// A request may not use another's connections, may end before it is done with them, and must not be woken by another: what
// goes on after a promise that another request settled can run in that one's name, or not at all. So whoever has the turn
// works in its own name and leaves each of the others its rows; those look for them by timers of their own. Nothing is handed
// over, so that a request that has died holds nobody up.

/** Most statements of one transaction, and most bytes of their values. */
const MOST = 50;
const MOST_BYTES = 2 ** 20;
/** A statement of more bytes goes by itself: with it the payload is the cost, and company saves nothing. */
const LARGE = 2 ** 16;
/** How long a statement waits to be taken along, in ms, and how long a turn lasts that nobody ends. */
const PATIENCE = 1_000;
/** How long one that was taken along waits for its rows, in ms: longer than D1 takes for anything. */
const OUTCOME = 35_000;
/** Least and most time between two looks, in ms. */
const LOOKS = [1, 25];
/** How long a turn waits for company, in ms: those whose rows have just come send their next deliveries now. */
const GATHERS = 1;

let turnUntil = 0;
let waiting = [];
/** How long the last turn took, in ms, and how many it took along. */
let took = 4;
let company = 0;

/** Runs a bound statement, alone or with others; gives its rows. `bytes` is the size of its values. */
export async function share(db, statement, bytes) {
  if (bytes > LARGE) return rowsOf(statement);
  if (Date.now() < turnUntil) {
    const { rows, error, alone } = await turn(statement, bytes);
    if (rows) return rows;
    if (error) throw error;
    if (alone) return rowsOf(statement);
  }
  const begun = Date.now();
  turnUntil = begun + PATIENCE;
  if (company > 0) await sleep(GATHERS);
  try {
    return await together(db, statement, companions(bytes));
  } finally {
    took = Date.now() - begun;
    turnUntil = 0;
  }
}

/** Those that go along with a statement of so many bytes. */
function companions(bytes) {
  let count = 0;
  for (let sum = bytes; count < Math.min(waiting.length, MOST - 1); count += 1) {
    sum += waiting[count].bytes;
    if (sum > MOST_BYTES) break;
  }
  company = count;
  const others = waiting.splice(0, count);
  for (const other of others) other.takenAt = Date.now();
  return others;
}

/** What comes of waiting: rows, an error, the turn, or the news that one is on one's own. */
async function turn(statement, bytes) {
  const self = { statement, bytes, takenAt: undefined, news: undefined };
  const since = Date.now();
  waiting.push(self);
  for (;;) {
    await pause();
    const now = Date.now();
    if (self.news) return self.news;
    if (self.takenAt !== undefined) {
      if (now - self.takenAt < OUTCOME) continue;
      return { error: new Error('what became of the statement is not known') };
    }
    if (now < turnUntil && now - since < PATIENCE) continue;
    waiting = waiting.filter((other) => other !== self);
    return { alone: now < turnUntil };
  }
}

/** About half of a turn: long enough to cost little, short enough that one of several looks soon after its end. */
const pause = () => sleep(Math.min(Math.max(took / 2, LOOKS[0]), LOOKS[1]));

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** One transaction. If it fails, nothing of it was done, and each tries by itself: one's fault is not the others'. */
async function together(db, statement, others) {
  if (others.length === 0) return rowsOf(statement);
  let results;
  try {
    results = await db.batch([statement, ...others.map((other) => other.statement)]);
  } catch {
    for (const other of others) other.news = { alone: true };
    return rowsOf(statement);
  }
  others.forEach((other, at) => { other.news = { rows: results[at + 1].results }; });
  return results[0].results;
}

const rowsOf = async (statement) => (await statement.all()).results;
