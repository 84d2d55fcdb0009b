// What a browser does, as far as the ways of the AuthID are built on it: no authseal is asked here. When one of these
// fails, a new browser has changed a rule, and docs/threat-model.md has to be thought through again.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './support/browser.js';
import { ENGINES, launchEngine } from './support/engine.js';
import { askByScript, listener, messagesOf, openPopup, TO_ANYBODY } from './support/popup.js';
import { startSite } from './support/site.js';

const sites = { ui: 'localhost', ui2: 'localhost', ours: 'auth.test', provider: 'provider.test' };
let browser;
before(async () => {
    browser = await launchBrowser();
    for (const [name, host] of Object.entries(sites)) sites[name] = await startSite(host);
});
after(async () => {
    await browser.close();
    for (const site of Object.values(sites)) await site.close();
});

// A test with a browser profile and with sites that hold nothing yet.
function fact(title, body) {
    test(title, async () => {
        const context = await browser.newContext();
        context.setDefaultTimeout(10_000);
        for (const site of Object.values(sites)) {
            for (const path of Object.keys(site.pages)) delete site.pages[path];
            site.requests.length = 0;
        }
        try {
            await body(context, sites);
        } finally {
            await context.close();
        }
    });
}

async function visit(context, url) {
    const page = await context.newPage();
    await page.goto(url);
    return page;
}

// A page with headers of its own.
const page = (headers, html) => (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html', ...headers }).end(`<!doctype html>${html}`);
const redirect = (location) => (_, response) => response.writeHead(303, { location }).end();

const WAYS_TO_OPEN = {
    'window.open': { html: (url) => `<button id="go" onclick="open('${url}','_blank','width=450')">` },
    'a link to a new window': { html: (url) => `<a id="go" target="_blank" rel="opener" href="${url}">go</a>` },
    'a link without an opener': { html: (url) => `<a id="go" target="_blank" rel="noopener" href="${url}">go</a>` },
    'a link without a referrer': {
        html: (url) => `<a id="go" target="_blank" rel="noreferrer" href="${url}">go</a>`,
        referer: () => undefined,
    },
    'a page that shows its whole address': {
        html: (url) => `<meta name="referrer" content="unsafe-url"><a id="go" target="_blank" href="${url}">go</a>`,
        referer: (origin) => `${origin}/page?secret=1`,
    },
};
for (const [name, { html, referer = (origin) => `${origin}/` }] of Object.entries(WAYS_TO_OPEN)) {
    fact(`the first request of ${name} names its origin as it should`, async (context, { ui, ours }) => {
        ours.pages['/'] = '<p>';
        ui.pages['/page'] = html(`${ours.origin}/`);
        const opener = await visit(context, `${ui.origin}/page?secret=1`);
        const [popup] = await Promise.all([opener.waitForEvent('popup'), opener.click('#go')]);
        await popup.waitForURL(`${ours.origin}/`);
        const { headers } = ours.requests[0];
        assert.equal(headers.referer, referer(ui.origin));
        assert.equal(headers['sec-fetch-site'], 'cross-site');
        assert.equal(headers['sec-fetch-mode'], 'navigate');
    });
}

fact('a typed address has no Referer and says that nobody led to it', async (context, { ours }) => {
    ours.pages['/'] = '<p>';
    await visit(context, `${ours.origin}/`);
    const { headers } = ours.requests[0];
    assert.deepEqual([headers.referer, headers['sec-fetch-site']], [undefined, 'none']);
});

fact('after the redirect of a provider Lax cookies come along, and Strict ones do not', async (context, { ours, provider }) => {
    ours.pages['/'] = (_, response) => {
        const cookies = ['__Host-lax=1; SameSite=Lax', 'lax=1; SameSite=Lax', 'strict=1; SameSite=Strict'];
        response.setHeader('set-cookie', cookies.map((cookie) => `${cookie}; Path=/; Secure; HttpOnly`));
        response.writeHead(200, { 'content-type': 'text/html' }).end('<a id="go" href="/login">go</a>');
    };
    ours.pages['/login'] = redirect(`${provider.origin}/consent`);
    ours.pages['/logged-in'] = '<p>';
    provider.pages['/consent'] = '<form method="post" action="/allow"><button id="go">allow</button></form>';
    provider.pages['/allow'] = redirect(`${ours.origin}/logged-in?code=1`);
    const popup = await visit(context, `${ours.origin}/`);
    await popup.click('#go');
    await popup.waitForURL(`${provider.origin}/consent`);
    await popup.click('#go');
    await popup.waitForURL(`${ours.origin}/logged-in?code=1`);
    const { headers } = ours.requests.find(({ path }) => path === '/logged-in');
    assert.equal(headers.cookie, '__Host-lax=1; lax=1');
});

fact("a script of another site's page is asked for with its origin, as a script and without cookies", async (context, { ui, ours }) => {
    ours.pages['/'] = (_, response) => {
        response.setHeader('set-cookie', '__Host-lax=1; SameSite=Lax; Path=/; Secure');
        response.end();
    };
    ours.pages['/fetch'] = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/javascript' }).end('answered({})');
    };
    ui.pages['/'] = '<p>';
    await visit(context, `${ours.origin}/`);
    await askByScript(await visit(context, `${ui.origin}/`), `${ours.origin}/fetch`);
    const { headers } = ours.requests.at(-1);
    assert.deepEqual([headers.referer, headers['sec-fetch-dest'], headers.cookie], [`${ui.origin}/`, 'script', undefined]);
});

fact('a message arrives only where its target names the origin, port included', async (context, { ui, ui2, ours, provider }) => {
    const targets = [provider.origin, ui2.origin, ui.origin.replace('http:', 'https:'), ui.origin];
    ours.pages['/'] = `<script>for (const target of ${JSON.stringify(targets)}) opener.postMessage('for ' + target, target)</script>`;
    ui.pages['/'] = listener(`${ours.origin}/`);
    const opener = await visit(context, `${ui.origin}/`);
    const popup = await openPopup(opener);
    await popup.waitForLoadState();
    assert.deepEqual(await messagesOf(opener, popup), [`for ${ui.origin}`, TO_ANYBODY]);
});

// The popup goes from our page to the provider's, which has the header, and back to our callback.
async function throughProvider(context, { ui, ours, provider }, policy) {
    ours.pages['/'] = `<a id="go" href="${provider.origin}/">go</a>`;
    ours.pages['/logged-in'] = '<p>';
    const headers = policy ? { 'cross-origin-opener-policy': policy } : {};
    provider.pages['/'] = page(headers, `<a id="go" href="${ours.origin}/logged-in">back</a>`);
    ui.pages['/'] = listener(`${ours.origin}/`);
    const popup = await openPopup(await visit(context, `${ui.origin}/`));
    await popup.click('#go');
    await popup.waitForURL(`${provider.origin}/`);
    await popup.click('#go');
    await popup.waitForURL(`${ours.origin}/logged-in`);
    return popup.evaluate(() => opener !== null);
}

for (const [policy, lives] of [[undefined, true], ['same-origin', false], ['same-origin-allow-popups', false]]) {
    const title = policy ? `a provider with the opener policy ${policy} cuts` : 'a provider without an opener policy keeps';
    fact(`${title} the tie to the opener`, async (context, all) => {
        assert.equal(await throughProvider(context, all, policy), lives);
    });
}

fact('an opener policy on a redirect of ours would cut the tie as well', async (context, { ui, ours }) => {
    ours.pages['/first'] = (_, response) => {
        response.writeHead(303, { location: '/then', 'cross-origin-opener-policy': 'same-origin' }).end();
    };
    ours.pages['/then'] = '<p>';
    ui.pages['/'] = listener(`${ours.origin}/first`);
    const popup = await openPopup(await visit(context, `${ui.origin}/`));
    await popup.waitForURL(`${ours.origin}/then`);
    assert.equal(await popup.evaluate(() => opener), null);
});

fact('a BroadcastChannel reaches our own other window past any opener policy', async (context, { ours, provider }) => {
    ours.pages['/'] = `<a id="go" target="_blank" rel="opener" href="${provider.origin}/">go</a>
        <script>new BroadcastChannel('login').onmessage = (event) => (document.title = event.data)</script>`;
    provider.pages['/'] = page({ 'cross-origin-opener-policy': 'same-origin' }, `<a id="go" href="${ours.origin}/back">`
        + 'back</a>');
    ours.pages['/back'] = `<script>new BroadcastChannel('login').postMessage('done')</script>`;
    const launcher = await visit(context, `${ours.origin}/`);
    const [second] = await Promise.all([launcher.waitForEvent('popup'), launcher.click('#go')]);
    await second.click('#go');
    await launcher.waitForFunction(() => document.title === 'done');
});

for (const [policy, origin] of [['no-referrer', () => 'null'], ['same-origin', (ours) => ours]]) {
    fact(`with the referrer policy ${policy} our own form has the Origin ${origin('of our own')}`, async (context, { ours }) => {
        ours.pages['/form'] = page({ 'referrer-policy': policy }, '<form method="post" action="/take"><button id="go">go</button></form>');
        ours.pages['/take'] = '<p>';
        const form = await visit(context, `${ours.origin}/form`);
        await form.click('#go');
        await form.waitForURL(`${ours.origin}/take`);
        assert.equal(ours.requests.at(-1).headers.origin, origin(ours.origin));
    });
}

fact("form-action 'self' lets a link through to the provider and stops a form", async (context, { ours, provider }) => {
    ours.pages['/'] = page(
        { 'content-security-policy': "default-src 'none'; form-action 'self'" },
        '<form method="post" action="/login"><button id="form">go</button></form><a id="link" href="/login">go</a>',
    );
    ours.pages['/login'] = redirect(`${provider.origin}/`);
    provider.pages['/'] = '<p>';
    const start = await visit(context, `${ours.origin}/`);
    const complaint = start.waitForEvent('console', (message) => message.text().includes('form-action'));
    await Promise.all([complaint, start.click('#form', { noWaitAfter: true })]);
    assert.equal(ours.requests.at(-1).method, 'POST', 'it is the redirect that is stopped');
    assert.equal(provider.requests.length, 0);
    await start.goto(`${ours.origin}/`);
    await start.click('#link');
    await start.waitForURL(`${provider.origin}/`);
});

fact('a redirect with `same-origin` forgets who led to it, one with `strict-origin-when-cross-origin` does not', async (context, { ui, ours }) => {
    for (const [policy, referer] of [['same-origin', undefined], ['strict-origin-when-cross-origin', `${ui.origin}/`]]) {
        ours.pages['/refresh'] = (_, response) => {
            response.writeHead(303, { location: '/then', 'referrer-policy': policy }).end();
        };
        ours.pages['/then'] = '<p>';
        ui.pages['/'] = listener(`${ours.origin}/refresh`);
        const popup = await openPopup(await visit(context, `${ui.origin}/`));
        await popup.waitForURL(`${ours.origin}/then`);
        assert.equal(ours.requests.at(-1).headers.referer, referer);
    }
});

// What a host can plant for another one of its domain, in each engine: the cookies that the other one then gets. libsoup
// before 3.3 (WebKitGTK in Debian 12) does not guard the prefix: known, and not defended by the cookie.
const PLANTED = [
    ['__%48ost-x', { chromium: '__%48ost-x=1', firefox: '__%48ost-x=1', webkit: '__%48ost-x=1' }],
    ['__Host%2dx', { chromium: '__Host%2dx=1', firefox: '__Host%2dx=1', webkit: '__Host%2dx=1' }],
    ['\u2000__Host-x', { chromium: '\u2000__Host-x=1', firefox: '\u2000__Host-x=1', webkit: undefined }],
    ['__Host-x', { chromium: undefined, firefox: undefined, webkit: '__Host-x=1' }],
    ['=__Host-x', { chromium: undefined, firefox: undefined, webkit: '__Host-x=1' }],
];
for (const name of ENGINES) {
    test(`${name} lets a host plant cookies for its siblings by these names and no others`, async () => {
        const [evil, ours] = await Promise.all(['evil', 'ours'].map((host) => startSite(`${host}.example.test`, { '/': '<p>' })));
        const engine = await launchEngine(name);
        try {
            for (const [cookie, arrives] of PLANTED) {
                evil.pages['/plant'] = (_, response) => {
                    response.setHeader('set-cookie', Buffer.from(`${cookie}=1; Domain=example.test; Secure`).toString('latin1'));
                    response.end(Buffer.from('<p>')); // with a string Node would send the header as UTF-8, too
                };
                const context = await engine.newContext();
                const page = await context.visit(`${evil.origin}/plant`);
                await page.goto(`${ours.origin}/`);
                const sent = ours.requests.at(-1).headers.cookie;
                assert.equal(sent && Buffer.from(sent, 'latin1').toString(), arrives[name], cookie);
                await context.close();
            }
        } finally {
            await engine.close();
            await Promise.all([evil.close(), ours.close()]);
        }
    });
}
