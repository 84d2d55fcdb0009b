// Logins that must not succeed, and what the person then sees.

import assert from 'node:assert/strict';
import { Person } from './support/person.js';
import { DENIAL } from './support/provider.js';
import { serverTest } from './support/server.js';

const callback = (server) => (url) => url.startsWith(`${server.url}/logged-in`);

serverTest('a callback in another browser is refused, and the code is not spent', {}, async ({ provider, server, person }) => {
    const question = await person.startLogin(server);
    const { stopped } = await person.decide(question, 'allow', { stopAt: callback(server) });

    const refusal = await new Person().open(stopped);
    assert.equal(refusal.status, 400);
    assert.equal(refusal.authid, undefined);
    assert.equal(provider.tokenCalls().length, 0);

    const page = await person.open(stopped);
    assert.equal(page.status, 200);
    assert.ok(page.authid);
});

serverTest('a callback works once', {}, async ({ server, person }) => {
    const question = await person.startLogin(server);
    const { stopped } = await person.decide(question, 'allow', { stopAt: callback(server) });
    assert.ok((await person.open(stopped)).authid);
    const again = await person.open(stopped);
    assert.equal(again.status, 400);
    assert.equal(again.authid, undefined);
});

serverTest('who says no at the provider sees a friendly page', {}, async ({ provider, server, person }) => {
    const page = await person.decide(await person.startLogin(server), 'deny');
    assert.ok(page.status < 500, `${page}`);
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.equal(page.authid, undefined);
    assert.ok(!page.text.includes(DENIAL), "the provider's own words are not repeated");
    assert.ok(
        page.attributes('a', 'href').some((target) => target.startsWith('/?type=localdrive')),
        `a way to try again: ${page}`,
    );
    assert.equal(provider.tokenCalls().length, 0);
});

serverTest('a login link without the page that made it leads back to that page', {}, async ({ provider, server, person }) => {
    const page = await person.open(`${server.url}/login?id=localdrive`);
    assert.equal(page.url, `${server.url}/?type=localdrive`);
    assert.equal(page.status, 200);
    assert.ok(!provider.requests.some(({ path }) => path === '/auth'));
});

serverTest('ten logins in one browser, begun together, all succeed', {}, async ({ server, person }) => {
    const questions = [];
    for (let login = 0; login < 10; login += 1) {
        questions.push(await person.startLogin(server));
    }
    const authids = new Set();
    for (const question of questions.reverse()) {
        authids.add((await person.decide(await person.open(question.url), 'allow')).authid);
    }
    assert.equal(authids.size, 10);
    assert.ok(!authids.has(undefined));
});

serverTest('a trusted proxy that says http is named once in the log, and its visitors read whom to ask', { https: true }, async ({ server }) => {
    for (const said of [{ 'x-forwarded-proto': 'http' }, { forwarded: 'for=203.0.113.7;proto=http' }]) {
        const response = await fetch(`${server.direct}/?type=localdrive`, { headers: { ...said, connection: 'close' } });
        assert.equal(response.status, 403);
        assert.match(await response.text(), /If you did use https, the proxy of this server&#x27;s operator says otherwise/);
    }
    const lines = server.output.split('\n').filter((line) => line.includes('says that a request came by plain http'));
    assert.equal(lines.length, 1, server.output);
    assert.match(lines[0], /WARN.*127\.0\.0\.1.*x-forwarded-proto/);
});
