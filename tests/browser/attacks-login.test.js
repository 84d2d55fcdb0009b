// Attacks on the way from our page to the provider and back, in three engines: logins that somebody else began, and forms
// that another site sends.

import assert from 'node:assert/strict';
import { classicInterface } from './support/browser.js';
import { logIn, openPopup, setLab, show } from './support/lab.js';
import { listener } from './support/popup.js';
import { Person } from './support/person.js';
import { askedToLogIn, HTTPS, PASTE } from './support/stage.js';

const HOSTS = { evil: 'evil.test', naive: 'naive.test', pcloud: 'localhost', ui: 'localhost' };

const start = (server) => `${server.url}/?type=localdrive`;

// Logs in as far as the provider's answer, which is kept from us: the address of the callback, unspent.
async function callbackOf(context, { server, front }) {
    const page = await context.visit(start(server));
    await page.click('a[href^="/login?"]');
    await page.click('form[action$="/sign-in"] button');
    const caught = front.catch('/logged-in?');
    await page.click('form[action$="/allow"] button');
    const url = await caught;
    await page.close();
    return url;
}

setLab(HOSTS, ({ sites, test }) => {
    // Follows a link to `url` on the page of somebody else.
    async function lure(context, url) {
        const page = await show(context, sites.evil, '/bait', '<a id="go">Free storage</a>');
        await page.evaluate((target) => void (document.querySelector('#go').href = target), url);
        await page.click('#go');
        return page;
    }

    async function showsNoAuthId(page) {
        await page.waitFor('main h1');
        assert.equal(await page.has('#authid'), false);
        assert.ok(!(await page.html()).includes('v3:'));
    }

    for (const [who, prepare] of [
        ['a browser that never was here', async () => {}],
        ['a browser with a login of its own under way', callbackOf],
    ]) {
        test(`the attacker's callback does nothing in ${who}`, HTTPS, async (parts) => {
            const { provider, context } = parts;
            const attacker = await parts.another();
            const url = await callbackOf(attacker, parts);
            await prepare(context, parts);
            const page = await lure(context, url);
            await showsNoAuthId(page);
            await page.headed('This login began in another browser');
            assert.equal(provider.tokenCalls().length, 0, 'the code is not spent');

            const own = await attacker.visit(url); // the cookie alone made the difference
            assert.match(await own.value('#authid'), /^v3:localdrive:/);
        });
    }

    test('a callback works once', HTTPS, async ({ provider, context, ...parts }) => {
        const url = await callbackOf(context, parts);
        assert.match(await (await context.visit(url)).value('#authid'), /^v3:/);
        await showsNoAuthId(await context.visit(url));
        assert.equal(provider.tokenCalls().length, 1);
    });

    test('a callback with a state that was changed is refused', HTTPS, async ({ provider, context, ...parts }) => {
        const url = new URL(await callbackOf(context, parts));
        const state = url.searchParams.get('state');
        for (const place of [0, 10, Math.floor(state.length / 2), state.length - 2]) {
            const changed = state.slice(0, place) + (state[place] === 'A' ? 'B' : 'A') + state.slice(place + 1);
            url.searchParams.set('state', changed);
            await showsNoAuthId(await context.visit(url.href));
        }
        url.searchParams.set('state', state);
        url.searchParams.set('iss', sites.evil.origin); // RFC 9207: another provider answers in this one's name
        await showsNoAuthId(await context.visit(url.href));
        assert.equal(provider.tokenCalls().length, 0);
    });

    // A callback without a state

    // A provider that drops the state on the way back; the token belongs to whoever the code is of.
    const DROPS_STATE = () => ({
        https: true,
        settings: `
    [clients.pcloud]
    id = "pcloud"
    secret = "of the tests"
    [providers.pcloud]
    authorize_url = "${sites.pcloud.origin}/authorize"
    token_url = "${sites.pcloud.origin}/{host}/token"
    `,
    });
    const bareCallback = (server, who) => `${server.url}/logged-in?code=${who}.1&hostname=api.pcloud.com&locationid=1`;

    // Duplicati's classic page, and its popup at the question of the provider.
    async function atConsent({ server, context }) {
        sites.pcloud.requests.length = 0;
        sites.pcloud.pages['/authorize'] = `<a id="allow" href="${bareCallback(server, 'person')}">allow</a>`;
        sites.pcloud.pages['/api.pcloud.com/token'] = (request, response) => {
            const who = /code=(\w+)/.exec(sites.pcloud.requests.at(-1).body)[1];
            response.setHeader('content-type', 'application/json');
            response.end(JSON.stringify({ result: 0, access_token: `access-${who}`, token_type: 'bearer', uid: 1 }));
        };
        const duplicati = await show(context, sites.ui, '/', classicInterface(server.url, 'pcloud'));
        const popup = await openPopup(context, duplicati);
        await popup.click('a[href^="/login?"]');
        await popup.waitFor('#allow');
        return { duplicati, popup };
    }

    const redeemed = () => sites.pcloud.requests.filter(({ path }) => path.endsWith('/token')).length;
    // Once Duplicati has asked again after that moment, all that was left for it would have been found.
    async function foundNothing(duplicati) {
        const asked = await duplicati.evaluate(() => Object.keys(angular.callbacks).length);
        await duplicati.until('it has asked again', (before) => Object.keys(angular.callbacks).length > before + 2, asked);
        assert.equal(await duplicati.value('#field'), '');
    }

    test("another tab's code does not end a login whose provider may drop the state", DROPS_STATE, async (parts) => {
        const { duplicati } = await atConsent(parts);
        const page = await lure(parts.context, bareCallback(parts.server, 'attacker'));
        await page.headed('Did you just come from pCloud?');
        assert.ok(!(await page.html()).includes('access-attacker'));
        assert.equal(redeemed(), 0);
        await foundNothing(duplicati);

        const sent = await show(parts.context, sites.evil, '/', sender(bareCallback(parts.server, 'attacker'), {}));
        await sent.headed('This form came from elsewhere');
        assert.equal(redeemed(), 0);

        await page.click('main button'); // a person who does it all the same
        await page.waitFor('#authid');
        assert.equal(await page.value('#authid'), 'access-attacker');
        assert.match(await page.text('main'), /If you did not just allow access there, do not use this AuthID/);
        await foundNothing(duplicati);
    });

    test('a login whose provider dropped the state is finished by a click, and its AuthID is there to copy', DROPS_STATE, async (parts) => {
        const { duplicati, popup } = await atConsent(parts);
        await popup.click('#allow');
        await popup.headed('Did you just come from pCloud?');
        await popup.click('main button');
        await popup.at(`${parts.server.url}/logged-in`);
        assert.equal(await popup.value('#authid'), 'access-person');
        assert.equal(redeemed(), 1);
        await foundNothing(duplicati);
        assert.ok(await parts.context.has(popup));
    });

    // Login links

    const link = (page) => page.attribute('a[href^="/login?"]', 'href');
    const putLink = (page, href) =>
        page.evaluate((target) => document.querySelector('a[href^="/login?"]').setAttribute('href', target), href);

    test("the attacker's login link is worth nothing in another browser", HTTPS, async ({ provider, server, context }) => {
        // With a Referer as only something else than a browser can send it, so that the sealed context names a trusted opener.
        const forged = await new Person().open(`${server.direct}/?type=localdrive&token=attackerattacker0123456789`, {
            referer: 'http://localhost:8200/',
        });
        const href = forged.attributes('a', 'href').find((target) => target.startsWith('/login?'));
        assert.match(href, /^\/login\?id=localdrive&ctx=[\w-]+$/);

        for (const go of [
            (page) => page.goto(server.url + href), // pasted into the address bar
            async (page) => {
                await putLink(page, href); // as if our own page had made it
                await page.click('a[href^="/login?"]');
            },
        ]) {
            const page = await context.visit(start(server));
            await go(page);
            await page.at(start(server));
            assert.equal(askedToLogIn(provider), 0);
        }
        const page = await lure(context, server.url + href);
        await page.at(start(server));
        assert.equal(askedToLogIn(provider), 0);

        const own = await context.visit(start(server)); // the same with its own link works
        await putLink(own, await link(own));
        await own.click('a[href^="/login?"]');
        await own.waitFor('button');
        assert.equal(askedToLogIn(provider), 1);
    });

    for (const [name, target] of [
        ['without a context', () => '/login?id=localdrive'],
        ["with the person's own context", link], // which no other site can know
    ]) {
        test(`another site that opens /login ${name} does not reach the provider`, HTTPS, async ({ provider, server, context }) => {
            const url = server.url + (await target(await context.visit(start(server))));
            const page = await show(context, sites.evil, '/', listener(url));
            const popup = await openPopup(context, page);
            await popup.at(start(server));
            await popup.waitFor('h1');
            await (await lure(context, url)).at(start(server));
            assert.equal(askedToLogIn(provider), 0);
        });
    }

    test('`redirect` sends nobody to the provider who came from another site', HTTPS, async ({ provider, server, context }) => {
        const page = await lure(context, `${server.url}/?redirect=localdrive`);
        await page.waitFor('a[href^="/login?"]');
        assert.equal(await page.has('meta[http-equiv="refresh"]'), false);
        assert.equal(askedToLogIn(provider), 0);
    });

    // Forms

    // A page that sends a form to `action` as soon as it is shown.
    const sender = (action, fields) =>
        `<form id="f" method="post" action="${action}">${Object.entries(fields)
            .map(([name, value]) => `<input name="${name}" value="${value}">`)
            .join('')}</form><script>addEventListener('load', () => setTimeout(() => document.getElementById('f').submit()))</script>`;
    // The same from a document without an origin of its own.
    const sandboxed = (action, fields) =>
        `<iframe sandbox="allow-scripts allow-forms allow-top-navigation"
            srcdoc="${sender(action, fields).replace('<form', '<form target=_top').replaceAll('"', '&quot;')}"></iframe>`;
    const MANNERS = { 'another site': sender, 'a document without an origin': sandboxed };

    test('a form that another site sends arrives with every cookie that is not told to stay', HTTPS, async ({ context }) => {
        sites.naive.pages['/cookies'] = (_, response) => {
            response.setHeader('set-cookie', ['lax=1; SameSite=Lax; Secure', 'none=1; SameSite=None; Secure']);
            response.end();
        };
        sites.naive.pages['/take'] = '<h1>taken</h1>';
        await context.visit(`${sites.naive.origin}/cookies`);
        for (const form of Object.values(MANNERS)) {
            const page = await show(context, sites.evil, '/', form(`${sites.naive.origin}/take`, { authid: 'x' }));
            await page.waitFor('h1');
            const { method, body, headers } = sites.naive.requests.at(-1);
            assert.deepEqual([method, body, headers.cookie], ['POST', 'authid=x', 'none=1']);
        }
    });

    for (const [name, form] of Object.entries(MANNERS)) {
        test(`${name} cannot revoke an AuthID by a form`, HTTPS, async ({ server, context }) => {
            const authid = await logIn(await context.visit(start(server)));
            const page = await show(context, sites.evil, '/', form(`${server.url}/revoked`, { authid }));
            await page.at(`${server.url}/revoked`);
            await page.headed('This form came from elsewhere');
            assert.equal((await server.refresh(authid)).status, 200);

            const own = await context.visit(`${server.url}/revoke`);
            await own.type('#authid', authid);
            await own.click('button[type="submit"]');
            await own.at(`${server.url}/revoked`);
            await own.headed('Access revoked');
            assert.equal((await server.refresh(authid)).status, 401);
        });

        test(`${name} cannot send a pasted token by a form`, PASTE, async ({ server, context }) => {
            const index = await context.visit(`${server.url}/?type=pastedrive`);
            const ctx = await index.attribute('input[name="ctx"]', 'value');
            const token = 'AAAA'; // not even one
            const page = await show(context, sites.evil, '/', form(`${server.url}/cli-token-login`, { id: 'pastedrive', ctx, token }));
            await page.at(`${server.url}/cli-token-login`);
            await page.headed('This form came from elsewhere');

            await index.type('#token', token);
            await index.click('button[type="submit"]');
            await index.at(`${server.url}/cli-token-login`);
            await index.headed('Connect Paste Drive'); // read, and found wanting
            await index.waitFor('[role="alert"]');
        });
    }
});
