// From a login to access tokens, and what outlives a restart.

import assert from 'node:assert/strict';
import { serverTest } from './support/server.js';

serverTest('an AuthID gives an access token that the provider accepts', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    assert.match(authid, /^v3:localdrive:[0-9]+:[A-Za-z0-9_-]+$/);
    const answer = await server.refresh(authid);
    assert.equal(answer.status, 200);
    assert.equal(answer.type, 'localdrive');
    assert.ok(Number.isInteger(answer.expires) && answer.expires > 60 && answer.expires <= 3600, `${answer.expires}`);
    assert.ok(await provider.accepts(answer.access_token));
    assert.equal(answer.v2_authid, undefined, 'the AuthID is still the best one');
});

serverTest('a repeated refresh is answered without asking the provider', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    const first = await server.refresh(authid);
    const calls = provider.tokenCalls('refresh_token').length;
    const second = await server.refresh(authid);
    assert.equal(second.access_token, first.access_token);
    assert.ok(second.expires <= first.expires);
    assert.equal(provider.tokenCalls('refresh_token').length, calls);
});

serverTest('twenty refreshes at once ask the provider at most once', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    await server.restart(); // forgets the access token that came with the login
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.refresh(authid)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(answers.map(({ access_token }) => access_token)).size, 1);
    assert.equal(provider.tokenCalls('refresh_token').length, 1);
});

serverTest('an AuthID still works after a restart', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    await server.restart();
    const answer = await server.refresh(authid);
    assert.equal(answer.status, 200);
    assert.ok(await provider.accepts(answer.access_token));
    assert.equal(provider.tokenCalls('refresh_token').length, 1);
});

serverTest('a login in progress survives a restart', {}, async ({ server, person }) => {
    const page = await person.startLogin(server);
    await server.restart();
    const { authid } = await person.decide(page, 'allow');
    assert.equal((await server.refresh(authid)).status, 200);
});

const rolling = { rotation: 'rolling', clientAuth: 'client_secret_basic' };

serverTest('rolling: the answer carries an AuthID with the new token', rolling, async ({ provider, server, person }) => {
    const { authid: old } = await person.logIn(server);
    await server.restart();
    const { v2_authid: renewed } = await server.refresh(old);
    assert.match(renewed, /^v3:localdrive:/);
    assert.notEqual(renewed, old);

    await server.restart();
    assert.equal((await server.refresh(renewed)).status, 200);
    await server.restart();
    assert.equal((await server.refresh(old)).status, 200, 'the client keeps the old AuthID in its configuration');

    const shown = provider.tokenCalls('refresh_token').map(({ params }) => params.refresh_token);
    assert.equal(shown.length, 3);
    assert.notEqual(shown[1], shown[0]);
    assert.equal(shown[2], shown[0]);
});

serverTest('an AuthID with one changed character is refused', {}, async ({ provider, server, person }) => {
    const { authid } = await person.logIn(server);
    const asked = provider.requests.length;
    const middle = authid.lastIndexOf(':') + 60;
    for (const place of [authid.lastIndexOf(':') + 1, middle, authid.length - 2]) {
        const other = authid[place] === 'A' ? 'B' : 'A';
        const answer = await server.refresh(authid.slice(0, place) + other + authid.slice(place + 1));
        assert.equal(answer.status, 401);
        assert.ok(answer.reason);
        assert.equal(answer.access_token, undefined);
    }
    assert.equal(provider.requests.length, asked, 'the provider was not asked');
});

serverTest('a provider that requires pushed authorization requests gets them', { pushed: true }, async (the) => {
    const { provider, server, person } = the;
    const { authid } = await person.logIn(server);
    const answer = await server.refresh(authid);
    assert.equal(answer.status, 200);
    assert.ok(await provider.accepts(answer.access_token));
    assert.ok(provider.requests.some(({ method, path, status }) => method === 'POST' && path === '/request' && status === 201));
    const asked = provider.requests.find(({ method, path }) => method === 'GET' && path === '/auth');
    assert.ok(asked, 'the browser came with the reference');
});
