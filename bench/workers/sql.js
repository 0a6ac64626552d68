// On a socket of its own: runs the statements that the benchmark asks for, on the contender's database.
export default {
  async fetch(request, { DB }) {
    const statements = await request.json();
    const results = await DB.batch(statements.map((sql) => DB.prepare(sql)));
    return Response.json(results.map(({ results }) => results));
  },
};
