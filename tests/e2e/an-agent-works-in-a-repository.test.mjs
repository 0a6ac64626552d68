// What an agent may do on GitHub besides talking: push commits, open pull requests, set labels, read files.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { openScene } from '../support/scene.mjs';
import { filesOf, messagesOf } from '../support/fake-github-git.mjs';

const hub = await startHub();
after(() => hub.close());

const ALL = ['push_commit', 'create_pull_request', 'add_labels', 'remove_label', 'read_file'];

async function asked(t) {
  const scene = await openScene(t, hub, { destination: { allowed_actions: ALL } });
  const letter = await scene.ask();
  const act = async (actions, message) => {
    const reply = await scene.answer(letter, { status: 'progress', message, actions: actions.map(([action, inputs]) => ({ action, inputs: { repo: scene.repo, ...inputs } })) });
    assert.equal(reply.status, 202, JSON.stringify(reply.body));
    return Promise.all(reply.body.runs.map(({ id }) => scene.ended(id)));
  };
  return { scene, act, git: scene.github.git(scene.repo) };
}

const succeeded = (runs) => runs.forEach((run) => assert.equal(run.status, 'succeeded', JSON.stringify(run)));

suite('an agent works in a repository', { concurrency: true }, () => {
  test('it pushes files to a new branch and opens a pull request, in that order', async (t) => {
    const { scene, act, git } = await asked(t);

    const runs = await act([
      ['push_commit', {
        branch: 'fix/crash', message: 'Do not divide by zero',
        files: [{ path: 'src/main.js', content: 'ok();\n' }, { path: 'run.sh', content: '#!/bin/sh\n', mode: '100755' }],
        binary_files: [{ path: 'logo.png', content: Buffer.from([1, 2, 3]).toString('base64') }],
        delete: ['README.md'],
      }],
      ['create_pull_request', { title: 'Do not divide by zero', head: 'fix/crash', base: 'main', body: 'Closes #1.' }],
    ]);

    succeeded(runs);
    assert.deepEqual(Object.keys(filesOf(git, 'fix/crash')).sort(), ['logo.png', 'run.sh', 'src/main.js']);
    assert.equal(filesOf(git, 'fix/crash')['src/main.js'], 'ok();\n');
    assert.deepEqual(Object.keys(filesOf(git, 'main')), ['README.md']);
    assert.match(messagesOf(git, 'fix/crash')[0], /^Do not divide by zero\n\nPatchbay-Run: patchbay:run_/);
    assert.equal(git.pulls.length, 1);
    assert.deepEqual([runs[0].result.created, runs[1].result.created, runs[1].result.number], [true, true, git.pulls[0].number]);
    const order = scene.github.requests.filter(({ method, path }) => method !== 'GET' && /\/(git|pulls)\b/.test(path)).map(({ method, path }) => `${method} ${path.replace(/^\/repos\/[^/]+\/[^/]+/, '')}`);
    assert.deepEqual(order, ['POST /git/blobs', 'POST /git/trees', 'POST /git/commits', 'POST /git/refs', 'POST /pulls']);
  });

  test('a pull request that is open already is the result', async (t) => {
    const { act, git } = await asked(t);
    const pull = { title: 'T', head: 'fix', base: 'main' };
    const [, first] = await act([['push_commit', { branch: 'fix', message: 'm', files: [{ path: 'a', content: 'a' }] }], ['create_pull_request', pull]]);

    const [second] = await act([['create_pull_request', { ...pull, title: 'again' }]]);

    succeeded([first, second]);
    assert.equal(git.pulls.length, 1);
    assert.deepEqual([second.result.number, second.result.created], [first.result.number, false]);
  });

  for (const [name, path] of [['the branch was moved', /\/git\/refs\/heads\//], ['the commit was made', /\/git\/commits$/]]) {
    test(`a push whose reply was lost when ${name} is one commit`, async (t) => {
      const { scene, act, git } = await asked(t);
      scene.github.fail({ method: path.source.includes('refs') ? 'PATCH' : 'POST', path, act: true, drop: true });

      const [run] = await act([['push_commit', { branch: 'main', message: 'one', files: [{ path: 'a', content: 'a' }] }]]);

      succeeded([run]);
      assert.equal(messagesOf(git, 'main').length, 2);
      assert.equal(filesOf(git, 'main').a, 'a');
    });
  }

  test('a branch that moved meanwhile is read anew, and nothing of it is lost', async (t) => {
    const { scene, act, git } = await asked(t);
    const [other] = await act([['push_commit', { branch: 'other', message: 'theirs', files: [{ path: 'theirs', content: 'x' }] }]]);
    const move = new Promise((resolve) => setImmediate(resolve)).then(() => git.refs.set('main', other.result.sha));
    scene.github.fail({ method: 'POST', path: /\/git\/commits$/, act: true, hold: move, answer: undefined });

    const [run] = await act([['push_commit', { branch: 'main', message: 'ours', files: [{ path: 'ours', content: 'y' }] }]]);

    succeeded([run]);
    assert.deepEqual(Object.keys(filesOf(git, 'main')).sort(), ['README.md', 'ours', 'theirs']);
    assert.ok(scene.github.requestsTo('PATCH', /\/git\/refs/).every(({ body }) => JSON.parse(body).force === false));
  });

  test('labels are added and taken off; one that is not there is no error', async (t) => {
    const { act, git } = await asked(t);

    const runs = await act([
      ['add_labels', { issue: 1, labels: ['bug', 'good first issue'] }],
      ['remove_label', { issue: 1, label: 'good first issue' }],
      ['remove_label', { issue: 1, label: 'not there' }],
    ]);

    succeeded(runs);
    assert.deepEqual([...git.labels.get('1')], ['bug']);
    assert.deepEqual(runs[0].result.labels, ['bug', 'good first issue']);
  });

  test('a file is read as it is', async (t) => {
    const { act } = await asked(t);

    const [found, missing] = await act([['read_file', { path: 'README.md' }], ['read_file', { path: 'no/such.md' }]]);

    assert.equal(found.result.content, '# Hello\n');
    assert.equal(missing.status, 'failed');
    assert.match(missing.error.detail, /404/);
  });

  test('another repository stays out of reach', async (t) => {
    const { scene } = await asked(t);
    const letter = await scene.ask('@patchbay more', { issue: 2 });
    for (const action of ALL) {
      const reply = await scene.answer(letter, { status: 'progress', actions: [{ action, inputs: { repo: 'octo-org/secret' } }] });
      assert.equal(reply.status, 403, action);
    }
  });
});
