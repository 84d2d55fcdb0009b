// Attacks on a login by a cookie that another host of the same domain planted, in three browsers: login CSRF (a person
// ends the attacker's login), theft (the attacker gets what the person's login gave) and keeping people from logging in.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { ENGINES, launchEngine } from './support/engine.js';
import { Person } from './support/person.js';
import { serverTest } from './support/server.js';
import { EVERYBODY, startSite } from './support/site.js';

const MANNER = { https: 'oauth.example.test' };
const ELSEWHERE = '198.51.100.9';
const TOKEN = 'attackerattacker0123456789';
const UI = 'http://localhost:8200/';
const NAME = '__Host-authseal';
const WARNING = 'This login was begun at another address. If that was not you, do not use this AuthID';

// By these a cookie with `Domain=` was once taken for ours. What no browser keeps or sends is tested over HTTP.
const SPELLINGS = [
    '__%48ost-authseal',
    '__Host%2dauthseal',
    '\u2000__Host-authseal',
    '\u00a0__Host-authseal',
    '__host-authseal',
];
// A browser that does not enforce the prefix sends these as `__Host-authseal`, byte for byte.
const LITERAL = [NAME, `=${NAME}`];

const evil = {};
before(async () => {
    evil.https = await startSite('evil.example.test');
    evil.http = await startSite('evil.example.test', {}, true);
});
after(() => Promise.all(Object.values(evil).map((site) => site.close())));

// Somebody who begins a login with a Referer that no browser would send; stops before `stopAt`.
async function begin({ server, provider }, address) {
    const attacker = new Person({ 'x-forwarded-for': address });
    const index = await attacker.open(`${server.direct}/?type=localdrive&token=${TOKEN}`, { referer: UI });
    const link = index.attributes('a', 'href').find((target) => target.startsWith('/login?'));
    const { stopped } = await attacker.open(server.direct + link, { stopAt: (url) => url.startsWith(provider.issuer) });
    return { attacker, consent: stopped, binder: attacker.cookie(NAME) };
}

// The attacker's own login, up to the callback.
async function finish({ attacker, consent }) {
    const { stopped } = await attacker.decide(await attacker.open(consent), 'allow', {
        stopAt: (url) => url.includes('/logged-in?'),
    });
    return stopped;
}

// The page of `site` that plants a cookie and has a link to `target`.
function bait(site, cookie, target) {
    site.pages['/bait'] = (_, response) => {
        response.setHeader('set-cookie', Buffer.from(cookie).toString('latin1'));
        response.setHeader('content-type', 'text/html');
        response.end(html(`<a id="go" href="${target.replaceAll('&', '&amp;')}">free</a>`));
    };
    return `${site.origin}/bait`;
}

// Bytes: with a string Node would send the headers as UTF-8, too.
const html = (body) => Buffer.from(`<!doctype html><meta charset="utf-8">${body}`);

// Duplicati's question with the attacker's token.
async function fetchAs(address, server) {
    const response = await fetch(`${server.direct}/fetch?token=${TOKEN}`, {
        headers: { referer: UI, 'x-forwarded-for': address, connection: 'close' },
    });
    return response.json();
}

async function consentAt(page) {
    await page.click('form[action$="/sign-in"] button');
    await page.click('form[action$="/allow"] button');
}

for (const name of ENGINES) {
    let engine;
    before(async () => (engine = await launchEngine(name)));
    after(() => engine?.close());

    // A test in which `victim()` makes the profile of a person who has been here before.
    function attackTest(title, body) {
        serverTest(`${name}: ${title}`, MANNER, async (parts) => {
            const contexts = [];
            const stranger = async () => {
                contexts.push(await engine.newContext());
                return contexts.at(-1);
            };
            const victim = async () => {
                const context = await stranger();
                await (await context.visit(`${parts.server.url}/?type=localdrive`)).waitFor('a[href^="/login?"]');
                return context;
            };
            try {
                await body({ ...parts, victim, stranger });
            } finally {
                for (const context of contexts) await context.close();
            }
        });
    }

    attackTest('nobody ends a login that somebody else began by planting a cookie', async (parts) => {
        const { provider, server, victim } = parts;
        const login = await begin(parts, EVERYBODY);
        const callback = await finish(login);
        for (const spelling of [...SPELLINGS, ...LITERAL]) {
            const context = await victim();
            const cookie = `${spelling}=${login.binder}; Domain=example.test; Path=/logged-in; Secure; SameSite=Lax`;
            const page = await context.visit(bait(evil.https, cookie, callback));
            await page.click('#go');
            assert.equal(await page.text('h1'), 'This login began in another browser', spelling);
            await context.close();
        }
        assert.equal(provider.tokenCalls().length, 0, 'the code is not spent');
        const { authid } = await login.attacker.open(callback.replace(server.url, server.direct));
        assert.match(authid, /^v3:/, 'in its own browser it works');
    });

    attackTest('the same planted by plain http', async (parts) => {
        const login = await begin(parts, EVERYBODY);
        const callback = await finish(login);
        const context = await parts.victim();
        const cookie = `__%48ost-authseal=${login.binder}; Domain=example.test; Path=/logged-in; SameSite=Lax`;
        const page = await context.visit(bait(evil.http, cookie, callback));
        await page.click('#go');
        assert.equal(await page.text('h1'), 'This login began in another browser');
        assert.equal(parts.provider.tokenCalls().length, 0);
    });

    attackTest('nobody gets the AuthID of a person whom he sent to the provider with a planted cookie', async (parts) => {
        for (const spelling of SPELLINGS.slice(0, 3)) {
            const login = await begin(parts, EVERYBODY);
            const context = await parts.victim();
            const cookie = `${spelling}=${login.binder}; Domain=example.test; Path=/logged-in; Secure; SameSite=Lax`;
            const page = await context.visit(bait(evil.https, cookie, login.consent));
            await page.click('#go');
            await consentAt(page);
            assert.equal(await page.text('h1'), 'This login began in another browser', spelling);
            assert.ok((await fetchAs(EVERYBODY, parts.server)).wait, spelling);
            await context.close();
        }
        assert.equal(parts.provider.tokenCalls().length, 0);
    });

    attackTest("foreign cookies do not keep anybody's login from its end", async (parts) => {
        const context = await parts.stranger();
        evil.https.pages['/bait'] = (_, response) => {
            // The last one has the longest path, so it is sent first.
            const own = `${SPELLINGS[0]}=${'A'.repeat(22)}; Domain=example.test; Path=/logged-in; SameSite=Lax`;
            const foreign = ['city=M\xfcnchen', 'x="'].map((cookie) => `${cookie}; Domain=example.test; Path=/`);
            response.setHeader('set-cookie', [...foreign, own]);
            response.setHeader('content-type', 'text/html');
            response.end(html(`<a id="go" href="${parts.server.url}/?type=localdrive">Log in</a>`));
        };
        const page = await context.visit(`${evil.https.origin}/bait`);
        await page.click('#go');
        await page.click('a[href^="/login?"]');
        await consentAt(page);
        await page.waitFor('#authid');
        assert.match(await page.value('#authid'), /^v3:localdrive:/);
    });

    attackTest('a login begun elsewhere goes nowhere by itself, even in a browser that takes a planted cookie', async (parts) => {
        const login = await begin(parts, ELSEWHERE);
        // There is no cookie of the user's own beside it.
        const context = await parts.stranger();
        const cookie = `${NAME}=${login.binder}; Domain=example.test; Path=/logged-in; Secure; SameSite=Lax`;
        const page = await context.visit(bait(evil.https, cookie, login.consent));
        await page.click('#go');
        await consentAt(page);
        const heading = await page.text('h1');
        if (heading === 'This login began in another browser') return assert.notEqual(name, 'webkit', OLD_LIBSOUP);
        assert.equal(name, 'webkit', 'this browser guards the prefix');
        assert.ok((await page.text('main')).includes(WARNING));
        assert.equal(await page.evaluate(() => document.querySelector('#ready').dataset.waits), '');
        assert.equal(await page.evaluate(() => document.querySelector('#send, #give')), null);
        for (const address of [EVERYBODY, ELSEWHERE]) assert.ok((await fetchAs(address, parts.server)).wait, address);
    });
}

const OLD_LIBSOUP = 'libsoup enforces the prefix from 3.3 on: then this and docs/threat-model.md can be simplified';
