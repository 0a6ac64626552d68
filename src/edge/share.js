// Writes of requests that an isolate serves beside each other, put into one transaction: while one is on its way to
// the database, those that come meanwhile wait, and the first of them takes all along. A request that comes alone pays
// nothing for it.
//
// A request may not use another's connections, and may end before it is done with them. So whoever has the turn works
// in its own name, gives each of the others its rows, and hands the turn to one that is still waiting. Nobody waits for
// long for a turn that does not come: it goes by itself then.

/** Most statements of one transaction, and most bytes of their values. */
const MOST = 50;
const MOST_BYTES = 2 ** 20;
/** How long a statement waits for its turn, in ms. */
const PATIENCE = 1_000;
/** How long one that was taken along waits for its rows, in ms: longer than D1 takes for anything. */
const OUTCOME = 35_000;

let turnUntil = 0;
let waiting = [];

/** Runs a bound statement, alone or with others; gives its rows. `bytes` is the size of its values. */
export async function share(db, statement, bytes) {
  if (Date.now() < turnUntil) {
    const { rows, error, alone } = await turn(statement, bytes);
    if (rows) return rows;
    if (error) throw error;
    if (alone) return rowsOf(statement);
  }
  turnUntil = Date.now() + PATIENCE;
  const others = companions(bytes);
  try {
    return await together(db, statement, others);
  } finally {
    pass();
  }
}

/** Those that go along with a statement of so many bytes. */
function companions(bytes) {
  let count = 0;
  for (let sum = bytes; count < Math.min(waiting.length, MOST - 1); count += 1) {
    sum += waiting[count].bytes;
    if (sum > MOST_BYTES) break;
  }
  const others = waiting.splice(0, count);
  for (const other of others) other.taken = true;
  return others;
}

/** What comes of waiting: rows, an error, the turn, or the news that one is on one's own. */
function turn(statement, bytes) {
  return new Promise((resolve) => {
    const self = { statement, bytes, taken: false };
    let timer;
    self.tell = (news) => { clearTimeout(timer); resolve(news); };
    const lost = () => resolve({ error: new Error('what became of the statement is not known') });
    timer = setTimeout(() => {
      if (self.taken) { timer = setTimeout(lost, OUTCOME); return; }
      waiting = waiting.filter((other) => other !== self);
      resolve({ alone: true });
    }, PATIENCE);
    waiting.push(self);
  });
}

/**
 * One transaction. If it fails each tries by itself: one's fault is not the others'. It may have been carried out all the
 * same, if only its reply was lost: whoever hands over a statement must bear that it is run twice.
 */
async function together(db, statement, others) {
  if (others.length === 0) return rowsOf(statement);
  let results;
  try {
    results = await db.batch([statement, ...others.map((other) => other.statement)]);
  } catch {
    for (const other of others) other.tell({ alone: true });
    return rowsOf(statement);
  }
  others.forEach((other, at) => other.tell({ rows: results[at + 1].results }));
  return results[0].results;
}

function pass() {
  const next = waiting.shift();
  turnUntil = next ? Date.now() + PATIENCE : 0;
  next?.tell({});
}

const rowsOf = async (statement) => (await statement.all()).results;
