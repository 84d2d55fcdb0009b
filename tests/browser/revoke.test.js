// Taking AuthIDs back: by the person who holds one, and by the operator who edits the denylist.

import assert from 'node:assert/strict';
import { grantOf, serverTest } from './support/server.js';
import { Person } from './support/person.js';
import { eventually } from './support/wait.js';

// How soon an edit by hand must be in force.
const IN_FORCE_MS = 2_000;

const rule = (authid) => `grant ${grantOf(authid)} through 1 at 2026-11-23T10:00:00Z\n`;

function isRefused(server, authid) {
    return eventually('the AuthID is refused', IN_FORCE_MS, async () => {
        const answer = await server.refresh(authid);
        return answer.status === 401 && answer;
    });
}

serverTest('a revoked AuthID is refused although its access token is cached', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    assert.equal((await server.refresh(authid)).status, 200);
    assert.equal(await server.revoke(authid), 200);
    const calls = provider.tokenCalls().length;
    const answer = await server.refresh(authid);
    assert.equal(answer.status, 401);
    assert.ok(answer.reason);
    assert.equal(provider.tokenCalls().length, calls);
    assert.match(await server.denylistText(), new RegExp(`^grant ${grantOf(authid)} through [0-9]+`, 'm'));

    await server.restart();
    assert.equal((await server.refresh(authid)).status, 401, 'a restart forgets nothing');
});

serverTest('revoking one login leaves the others alone', {}, async ({ server, person }) => {
    const { authid } = await person.logIn(server);
    const { authid: other } = await new Person().logIn(server);
    await server.revoke(authid);
    assert.equal((await server.refresh(other)).status, 200);
});

serverTest('a rule appended by hand is in force within two seconds', {}, async ({ server, person }) => {
    const { authid } = await person.logIn(server);
    assert.equal((await server.refresh(authid)).status, 200);
    await server.appendToDenylist(rule(authid));
    const { reason } = await isRefused(server, authid);
    assert.ok(reason);
});

serverTest('a file put in the place of the old one is in force within two seconds', {}, async ({ server, person }) => {
    const { authid } = await person.logIn(server);
    await server.rewriteDenylist(`authseal-denylist 1\n# by hand\n${rule(authid)}`);
    await isRefused(server, authid);
    await server.rewriteDenylist('authseal-denylist 1\n');
    await eventually('the AuthID works again', IN_FORCE_MS, async () => (await server.refresh(authid)).status === 200);
});

serverTest('a broken edit leaves the old rules in force, and is said', {}, async ({ server, person }) => {
    const { authid } = await person.logIn(server);
    const { authid: other } = await new Person().logIn(server);
    await server.appendToDenylist(rule(authid));
    await isRefused(server, authid);

    const before = server.output.length;
    await server.rewriteDenylist('authseal-denylist 1\nthis is no rule\n');
    await eventually('the log names the denylist', IN_FORCE_MS, () => /denylist/i.test(server.output.slice(before)));
    assert.equal((await server.refresh(authid)).status, 401);
    assert.equal((await server.refresh(other)).status, 200);

    await server.rewriteDenylist(`authseal-denylist 1\n${rule(other)}`);
    await isRefused(server, other);
    assert.equal((await server.refresh(authid)).status, 200, 'the corrected file is what counts');
});
