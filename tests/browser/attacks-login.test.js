// Attacks on the way from our page to the provider and back: logins that somebody else began, and forms that another
// site sends.

import assert from 'node:assert/strict';
import { classicInterface } from './support/browser.js';
import { askedToLogIn, HTTPS, PASTE, setStage, show, visit } from './support/stage.js';
import { Person } from './support/person.js';
import { logIn, openPopup } from './support/popup.js';

const stage = setStage({ evil: 'evil.test', naive: 'naive.test', pcloud: 'localhost', ui: 'localhost' });

const start = (server) => `${server.url}/?type=localdrive`;

// Logs in as far as the provider's answer, which is kept from us: the address of the callback, unspent.
async function callbackOf(context, server) {
    const page = await visit(context, start(server));
    const protocol = await context.newCDPSession(page);
    const callback = new Promise((resolve) => {
        protocol.on('Fetch.requestPaused', ({ requestId, request }) => {
            resolve(request.url);
            protocol.send('Fetch.failRequest', { requestId, errorReason: 'Aborted' }).catch(() => {});
        });
    });
    await protocol.send('Fetch.enable', { patterns: [{ urlPattern: `${server.url}/logged-in*` }] });
    await page.click('a[href^="/login?"]');
    await page.click('button:text-is("sign-in")');
    await page.click('button:text-is("allow")', { noWaitAfter: true });
    const url = await callback;
    await page.close();
    return url;
}

// Follows a link to `url` on the page of somebody else.
async function lure(context, url) {
    const page = await show(context, stage.evil, '/bait', '<a id="go">Free storage</a>');
    await page.$eval('#go', (link, target) => (link.href = target), url);
    await page.click('#go');
    return page;
}

async function showsNoAuthId(page) {
    await page.waitForSelector('main h1');
    assert.equal(await page.locator('#authid').count(), 0);
    assert.ok(!(await page.content()).includes('v3:'));
}

for (const [who, prepare] of [
    ['a browser that never was here', async () => {}],
    ['a browser with a login of its own under way', (context, server) => callbackOf(context, server)],
]) {
    stage.test(`the attacker's callback does nothing in ${who}`, HTTPS, async ({ provider, server, context, another }) => {
        const attacker = await another();
        const url = await callbackOf(attacker, server);
        await prepare(context, server);
        const page = await lure(context, url);
        await showsNoAuthId(page);
        assert.equal(await page.textContent('h1'), 'This login began in another browser');
        assert.equal(provider.tokenCalls().length, 0, 'the code is not spent');

        const own = await visit(attacker, url); // the cookie alone made the difference
        assert.match(await own.inputValue('#authid'), /^v3:localdrive:/);
    });
}

stage.test('a callback works once', HTTPS, async ({ provider, server, context }) => {
    const url = await callbackOf(context, server);
    assert.match(await (await visit(context, url)).inputValue('#authid'), /^v3:/);
    await showsNoAuthId(await visit(context, url));
    assert.equal(provider.tokenCalls().length, 1);
});

stage.test('a callback with a state that was changed is refused', HTTPS, async ({ provider, server, context }) => {
    const url = new URL(await callbackOf(context, server));
    const state = url.searchParams.get('state');
    for (const place of [0, 10, Math.floor(state.length / 2), state.length - 2]) {
        const changed = state.slice(0, place) + (state[place] === 'A' ? 'B' : 'A') + state.slice(place + 1);
        url.searchParams.set('state', changed);
        await showsNoAuthId(await visit(context, url.href));
    }
    url.searchParams.set('state', state);
    url.searchParams.set('iss', stage.evil.origin); // RFC 9207: another provider answers in this one's name
    await showsNoAuthId(await visit(context, url.href));
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
authorize_url = "${stage.pcloud.origin}/authorize"
token_url = "${stage.pcloud.origin}/{host}/token"
`,
});
const bareCallback = (server, who) => `${server.url}/logged-in?code=${who}.1&hostname=api.pcloud.com&locationid=1`;

// Duplicati's classic page, and its popup at the question of the provider.
async function atConsent({ server, context }) {
    stage.pcloud.requests.length = 0;
    stage.pcloud.pages['/authorize'] = `<a id="allow" href="${bareCallback(server, 'person')}">allow</a>`;
    stage.pcloud.pages['/api.pcloud.com/token'] = (request, response) => {
        const who = /code=(\w+)/.exec(stage.pcloud.requests.at(-1).body)[1];
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ result: 0, access_token: `access-${who}`, token_type: 'bearer', uid: 1 }));
    };
    const duplicati = await show(context, stage.ui, '/', classicInterface(server.url, 'pcloud'));
    const popup = await openPopup(duplicati);
    await popup.click('a[href^="/login?"]');
    await popup.waitForSelector('#allow');
    return { duplicati, popup };
}

const redeemed = () => stage.pcloud.requests.filter(({ path }) => path.endsWith('/token')).length;
// Once Duplicati has asked again after that moment, all that was left for it would have been found.
async function foundNothing(duplicati) {
    const asked = await duplicati.evaluate(() => Object.keys(angular.callbacks).length);
    await duplicati.waitForFunction((before) => Object.keys(angular.callbacks).length > before + 2, asked);
    assert.equal(await duplicati.inputValue('#field'), '');
}

stage.test("another tab's code does not end a login whose provider may drop the state", DROPS_STATE, async (parts) => {
    const { duplicati } = await atConsent(parts);
    const page = await lure(parts.context, bareCallback(parts.server, 'attacker'));
    await page.waitForSelector('main h1');
    assert.equal(await page.textContent('h1'), 'Did you just come from pCloud?');
    assert.ok(!(await page.content()).includes('access-attacker'));
    assert.equal(redeemed(), 0);
    await foundNothing(duplicati);

    const sent = await show(parts.context, stage.evil, '/', sender(bareCallback(parts.server, 'attacker'), {}));
    await sent.waitForSelector('main h1');
    assert.equal(await sent.textContent('h1'), 'This form came from elsewhere');
    assert.equal(redeemed(), 0);

    await page.click('main button'); // a person who does it all the same
    assert.equal(await page.inputValue('#authid'), 'access-attacker');
    assert.match(await page.textContent('main'), /If you did not just allow access there, do not use this AuthID/);
    await foundNothing(duplicati);
});

stage.test('a login whose provider dropped the state is finished by a click, and its AuthID is there to copy', DROPS_STATE, async (parts) => {
    const { duplicati, popup } = await atConsent(parts);
    await popup.click('#allow');
    assert.equal(await popup.textContent('h1'), 'Did you just come from pCloud?');
    await popup.click('main button');
    await popup.waitForURL(`${parts.server.url}/logged-in`);
    assert.equal(await popup.inputValue('#authid'), 'access-person');
    assert.equal(redeemed(), 1);
    assert.ok(!popup.isClosed());
    await foundNothing(duplicati);
});

// Login links

const link = (page) => page.getAttribute('a[href^="/login?"]', 'href');
const putLink = (page, href) => page.$eval('a[href^="/login?"]', (a, target) => a.setAttribute('href', target), href);

stage.test("the attacker's login link is worth nothing in another browser", HTTPS, async ({ provider, server, context }) => {
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
        const page = await visit(context, start(server));
        await go(page);
        await page.waitForURL(start(server));
        assert.equal(askedToLogIn(provider), 0);
    }
    const page = await lure(context, server.url + href);
    await page.waitForURL(start(server));
    assert.equal(askedToLogIn(provider), 0);

    const own = await visit(context, start(server)); // the same with its own link works
    await putLink(own, await link(own));
    await own.click('a[href^="/login?"]');
    await own.waitForSelector('button');
    assert.equal(askedToLogIn(provider), 1);
});

for (const [name, target] of [
    ['without a context', () => '/login?id=localdrive'],
    ["with the person's own context", link], // which no other site can know
]) {
    stage.test(`another site that opens /login ${name} does not reach the provider`, HTTPS, async ({ provider, server, context }) => {
        const url = server.url + (await target(await visit(context, start(server))));
        const page = await show(context, stage.evil, '/', '<p>');
        const [popup] = await Promise.all([
            page.waitForEvent('popup'),
            page.evaluate((u) => void open(u, '_blank', 'width=450,height=600'), url),
        ]);
        await popup.waitForURL(start(server));
        await popup.waitForSelector('h1');
        await (await lure(context, url)).waitForURL(start(server));
        assert.equal(askedToLogIn(provider), 0);
    });
}

stage.test('`redirect` sends nobody to the provider who came from another site', HTTPS, async ({ provider, server, context }) => {
    const page = await lure(context, `${server.url}/?redirect=localdrive`);
    await page.waitForSelector('a[href^="/login?"]');
    assert.equal(await page.locator('meta[http-equiv="refresh"]').count(), 0);
    assert.equal(askedToLogIn(provider), 0);
});

// Forms

// A page that sends a form to `action` as soon as it is shown.
const sender = (action, fields) =>
    `<form id="f" method="post" action="${action}">${Object.entries(fields)
        .map(([name, value]) => `<input name="${name}" value="${value}">`)
        .join('')}</form><script>document.getElementById('f').submit()</script>`;
// The same from a document without an origin of its own.
const sandboxed = (action, fields) =>
    `<iframe sandbox="allow-scripts allow-forms allow-top-navigation"
        srcdoc="${sender(action, fields).replace('<form', '<form target=_top').replaceAll('"', '&quot;')}"></iframe>`;
const MANNERS = { 'another site': sender, 'a document without an origin': sandboxed };

stage.test('a form that another site sends arrives with every cookie that is not told to stay', HTTPS, async ({ context }) => {
    stage.naive.pages['/cookies'] = (_, response) => {
        response.setHeader('set-cookie', ['lax=1; SameSite=Lax; Secure', 'none=1; SameSite=None; Secure']);
        response.end();
    };
    stage.naive.pages['/take'] = '<h1>taken</h1>';
    await visit(context, `${stage.naive.origin}/cookies`);
    for (const form of Object.values(MANNERS)) {
        const page = await show(context, stage.evil, '/', form(`${stage.naive.origin}/take`, { authid: 'x' }));
        await page.waitForSelector('h1');
        const { method, body, headers } = stage.naive.requests.at(-1);
        assert.deepEqual([method, body, headers.cookie], ['POST', 'authid=x', 'none=1']);
    }
});

for (const [name, form] of Object.entries(MANNERS)) {
    stage.test(`${name} cannot revoke an AuthID by a form`, HTTPS, async ({ server, context }) => {
        const authid = await logIn(await visit(context, start(server)));
        const page = await show(context, stage.evil, '/', form(`${server.url}/revoked`, { authid }));
        await page.waitForURL(`${server.url}/revoked`);
        assert.equal(await page.textContent('h1'), 'This form came from elsewhere');
        assert.equal((await server.refresh(authid)).status, 200);

        const own = await visit(context, `${server.url}/revoke`);
        await own.fill('#authid', authid);
        await own.click('button[type="submit"]');
        await own.waitForURL(`${server.url}/revoked`);
        assert.equal(await own.textContent('h1'), 'Access revoked');
        assert.equal((await server.refresh(authid)).status, 401);
    });

    stage.test(`${name} cannot send a pasted token by a form`, PASTE, async ({ server, context }) => {
        const index = await visit(context, `${server.url}/?type=pastedrive`);
        const href = await index.getAttribute('a[href^="/cli-token?"]', 'href');
        const ctx = new URL(href, server.url).searchParams.get('ctx');
        const token = 'AAAA'; // not even one
        const page = await show(context, stage.evil, '/', form(`${server.url}/cli-token-login`, { id: 'pastedrive', ctx, token }));
        await page.waitForURL(`${server.url}/cli-token-login`);
        assert.equal(await page.textContent('h1'), 'This form came from elsewhere');

        await index.click('a[href^="/cli-token?"]');
        await index.fill('#token', token);
        await index.click('button[type="submit"]');
        await index.waitForURL(`${server.url}/cli-token-login`);
        assert.equal(await index.textContent('h1'), 'Connect Paste Drive'); // read, and found wanting
        assert.equal(await index.locator('[role="alert"]').count(), 1);
    });
}
