// authseal with authorization servers that others wrote: logins in Chromium, refresh token rotation, expiry, callers side
// by side, a restart, two replicas with one store, and revocation from both ends.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from '../browser/support/browser.js';
import { startAuthseal } from '../browser/support/server.js';
import { eventually } from '../browser/support/wait.js';
import { startAuthlib, startDjango, startGlewlwyd } from './servers.js';

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const configuration = (url, port) => `
public_url = "${url}"
listen = ["127.0.0.1:${port}"]
server.drain_seconds = 0
state.store = "dir:state"
keyring.file = "keys.toml"
denylist.file = "denylist"
`;

// A test with an authorization server, an authseal that uses it, and a browser profile; all end with it.
function interop(title, start, options, body) {
    test(title, async (t) => {
        const undo = [];
        t.after(async () => {
            for (const step of undo.reverse()) await step();
        });
        let provider;
        const server = await startAuthseal(undo, async (url, port) => {
            provider = await start(undo, { callback: `${url}/logged-in`, ...options });
            return configuration(url, port) + provider.toml(options.more);
        });
        const context = await browser.newContext();
        undo.push(() => context.close());
        const replica = () =>
            startAuthseal(undo, (url, port) => configuration(url, port) + provider.toml(), server);
        try {
            await body({ server, provider, replica, page: await context.newPage() });
        } catch (error) {
            error.message += `\n\nauthseal wrote:\n${server.output}`;
            throw error;
        }
    });
}

async function logIn(page, server, provider) {
    await page.goto(`${server.url}/?type=homedrive`);
    await page.click('a[href^="/login?"]');
    await provider.consent(page);
    const shown = page.locator('#authid');
    assert.ok(await shown.count(), await page.innerText('body'));
    return shown.inputValue();
}

async function granted(server, authid) {
    const answer = await server.refresh(authid);
    assert.equal(answer.status, 200, JSON.stringify(answer));
    return answer.access_token;
}

// Refreshes until `count` access tokens have come, one after the other's end; with the same old AuthID all the time.
async function untilTokens(server, authid, count) {
    const tokens = new Set();
    await eventually(`${count} access tokens`, 60_000, async () => tokens.add(await granted(server, authid)).size >= count);
    return [...tokens];
}

const SERVERS = [
    ['django-oauth-toolkit', startDjango, {}],
    ['django-oauth-toolkit, by its issuer', startDjango, { byIssuer: true }],
    ['Authlib', startAuthlib, {}],
    ['Authlib, rotating', startAuthlib, { rotate: true }],
    ['Glewlwyd', startGlewlwyd, { oneUse: false }],
    ['Glewlwyd, one use', startGlewlwyd, { oneUse: true }],
];

for (const [name, start, options] of SERVERS) {
    interop(`${name}: one login in a browser serves refresh after refresh`, start, { ...options, life: 2 }, async (the) => {
        const { server, provider, replica, page } = the;
        const authid = await logIn(page, server, provider);
        const tokens = await untilTokens(server, authid, 4);
        assert.ok(await provider.accepts(await granted(server, authid)));
        await server.restart();
        assert.ok(!tokens.includes((await untilTokens(server, authid, 2))[1]));
        const other = await replica();
        for (let round = 0; round < 3; round += 1) {
            const asked = [server, other, server, other, server, other].map((one) => granted(one, authid));
            await Promise.all(asked);
            await untilTokens(round % 2 ? server : other, authid, 2);
        }
    });

    interop(`${name}: what is revoked here is dead there`, start, options, async ({ server, provider, page }) => {
        const authid = await logIn(page, server, provider);
        await granted(server, authid);
        assert.equal(await server.revoke(authid), 200);
        const { status, reason } = await server.refresh(authid);
        assert.equal(status, 401);
        assert.match(reason, /has been revoked/);
    });
}

for (const [method, auth] of [['client_secret_basic', 'basic'], ['client_secret_post', 'body']]) {
    interop(`Authlib, ${method}: how the secret is sent is found out`, startAuthlib, { method, facts: '', life: 2 }, async (the) => {
        const { server, provider, page } = the;
        if (auth === 'basic') {
            await assert.rejects(logIn(page, server, provider), /own registration at Authlib does not work/);
            assert.match(server.output, /refused the client.*"client_auth":"body".*"next":"basic"/);
            await page.context().clearCookies();
        }
        const authid = await logIn(page, server, provider);
        await untilTokens(server, authid, 2);
        // What was found out is forgotten, and found out again by a refresh alone.
        await server.restart();
        await untilTokens(server, authid, 2);
        assert.ok(await provider.accepts(await granted(server, authid)));
    });
}

// Refreshes until the answer has this status.
async function untilStatus(server, authid, wanted) {
    let answer;
    await eventually(`status ${wanted}`, 180_000, async () => {
        answer = await server.refresh(authid);
        return answer.status === wanted;
    });
    return answer;
}

const BARE = [
    ['Glewlwyd', startGlewlwyd, { oneUse: false }, 400],
    ['Glewlwyd, one use', startGlewlwyd, { oneUse: true }, 400],
    ['django-oauth-toolkit', startDjango, {}, 500],
];

for (const [name, start, options, status] of BARE) {
    interop(`${name}: a login that is withdrawn there is dead here once others work`, start, { ...options, life: 1 }, async (the) => {
        const { server, provider, page } = the;
        const authid = await logIn(page, server, provider);
        await granted(server, authid);
        await provider.withdraw(page);
        const { reason } = await untilStatus(server, authid, 503);
        // The second while the token of an exchange that failed so is not to be tried again yet.
        assert.match(reason, new RegExp(`(does not say what is wrong|has an outage) \\(HTTP ${status}\\)|^The last exchange with .* broke off`));
        const said = new RegExp(`"level":"WARN".*"message":"the provider's answer is of no use".*"call":"refresh",.*"status":${status}`);
        // The log is written beside the answer.
        await eventually('the log says so', 10_000, () => said.test(server.output));
        await page.context().clearCookies();
        const other = await logIn(page, server, provider);
        await untilTokens(server, other, 2);
        const dead = await untilStatus(server, authid, 401);
        assert.match(dead.reason, /Please create a new AuthID/);
        await untilTokens(server, other, 2);
    });
}

interop('Glewlwyd: a status without a code means what the configuration says', startGlewlwyd, { life: 1, oneUse: false, more: '[providers.home.errors]\nHTTP-400 = "login_again"' }, async (the) => {
    const { server, provider, page } = the;
    const authid = await logIn(page, server, provider);
    await granted(server, authid);
    await provider.withdraw(page);
    const { reason } = await untilStatus(server, authid, 401);
    assert.match(reason, /no longer accepts this login/);
});

interop('Authlib: a wrong secret is told from a dead login', startAuthlib, { secret: 'another-secret' }, async (the) => {
    const { server, provider, page } = the;
    await page.goto(`${server.url}/?type=homedrive`);
    await page.click('a[href^="/login?"]');
    await provider.consent(page);
    assert.match(await page.innerText('body'), /own registration at Authlib does not work/);
    const said = /"level":"ERROR",.*"call":"login",.*"status":401.*"codes":\["invalid_client"\].*"client_auth":"basic","because":"client_auth says so"/;
    assert.match(server.output, said);
    assert.doesNotMatch(server.output, /another-secret/);
});
