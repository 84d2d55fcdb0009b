// Attacks on the way of the AuthID from our page to the page that asked for it, in three engines. Beside each is the
// same act by somebody entitled, which must succeed.

import assert from 'node:assert/strict';
import { consent, logIn, messagesOf, openFrom, openPopup, setLab, show } from './support/lab.js';
import { askByScript, listener, TO_ANYBODY } from './support/popup.js';
import { HTTPS } from './support/stage.js';
import { eventually } from './support/wait.js';

const HOSTS = { local: 'localhost', nas: 'nas.test', otherPort: 'nas.test', evil: 'evil.test', naive: 'naive.test' };

const start = (server) => `${server.url}/?type=localdrive`;
// A token that an attacker knows, for he made it himself.
const ATTACKERS = 'attackerattacker0123456789';

// From now on a button takes no time to be armed, or will never be; this makes the page begin again.
const TIME = (pace) => {
    window.wait ??= window.setTimeout.bind(window);
    window.setTimeout = (act, ms, ...rest) => {
        if (ms !== 1000) return window.wait(act, ms, ...rest);
        return pace === 'flies' ? window.wait(act) : 0;
    };
    dispatchEvent(new Event('resize'));
    return new Promise((done) => window.wait(done, 50));
};

// Over how many lines a text goes.
const LINES = (selector) => {
    const element = document.querySelector(selector);
    const line = document.createElement('span');
    line.textContent = 'x';
    element.after(line);
    const lines = Math.round(element.offsetHeight / line.offsetHeight);
    line.remove();
    return lines;
};

// Moves the pointer until the button is armed.
const armed = (popup) =>
    eventually('the button is armed', 10_000, async () => {
        await popup.move(10, 10);
        await popup.move(20, 10);
        return popup.has('#send button[aria-disabled="false"]');
    });

// What depends on no engine is tried in one of them, unless there is time.
const FULL = Boolean(process.env.TESTS_FULL);

setLab(HOSTS, ({ engine, sites, test }) => {
    const listed = () => ({ https: true, settings: `[delivery]\ntrusted_origins = ["${sites.nas.origin}"]\n` });

    for (const [who, site] of [['on loopback', 'local'], ['on the list', 'nas']]) {
        test(`an opener ${who} gets exactly one message`, listed, async ({ server, context }) => {
            const { page, popup } = await openFrom(context, sites[site], start(server));
            const authid = await logIn(popup);
            assert.deepEqual(await messagesOf(page, popup), [`authid:${authid}`, TO_ANYBODY]);
        });
    }

    test('a page that names no receiver gives the secret to any opener', HTTPS, async ({ context }) => {
        sites.naive.pages['/'] = `<script>opener.postMessage('authid:the secret', '*')</script>`;
        const { page, popup } = await openFrom(context, sites.evil, `${sites.naive.origin}/`);
        await popup.at(`${sites.naive.origin}/`);
        await page.until('the secret is there', () => messages.length > 0);
        assert.deepEqual(await messagesOf(page, popup), ['authid:the secret', TO_ANYBODY]);
    });

    for (const [who, site] of [['on a foreign site', 'evil'], ['on another port of a listed host', 'otherPort']]) {
        test(`an opener ${who} gets no message`, listed, async ({ server, context }) => {
            const { page, popup } = await openFrom(context, sites[site], start(server));
            assert.match(await logIn(popup), /^v3:/);
            assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        });
    }

    for (const [who, site] of [['on loopback', 'local'], ['on the list', 'nas']]) {
        test(`an opener whose popup went through a page ${who} gets no message`, listed, async ({ server, context }) => {
            sites[site].pages['/link'] = `<a id="go" href="${start(server)}">Get an AuthID</a>`;
            const { page, popup } = await openFrom(context, sites.evil, `${sites[site].origin}/link`);
            await popup.click('#go'); // so the trusted page is the one that leads to us, and the evil one the opener
            await logIn(popup);
            assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        });
    }

    test('an opener that a trusted redirect sends to us gets no message', listed, async ({ server, context }) => {
        sites.nas.pages['/away'] = (_, response) => response.writeHead(302, { location: start(server) }).end();
        const { page, popup } = await openFrom(context, sites.evil, `${sites.nas.origin}/away`);
        await logIn(popup);
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });

    test('a popup of a popup tells neither of the two above it', HTTPS, async ({ server, context }) => {
        sites.evil.pages['/inner'] = listener(start(server));
        const outer = await show(context, sites.evil, '/', listener(`${sites.evil.origin}/inner`));
        const inner = await openPopup(context, outer);
        const popup = await openPopup(context, inner);
        await logIn(popup);
        assert.deepEqual(await messagesOf(inner, popup), [TO_ANYBODY]);
        assert.deepEqual(await messagesOf(outer, inner), [TO_ANYBODY]);
    });

    // Takes the opener to an evil page. By a script: a typed address would cut the tie.
    async function moveOn(page) {
        sites.evil.pages['/trap'] = listener('about:blank');
        const trap = `${sites.evil.origin}/trap`;
        await page.leadTo(trap);
        await page.at(trap);
        await page.waitFor('#open');
    }

    for (const [who, site] of [['on loopback', 'local'], ['on the list', 'nas']]) {
        test(`an opener ${who} that has moved on to an evil page gets no message`, listed, async ({ server, context }) => {
            const { page, popup } = await openFrom(context, sites[site], start(server));
            await popup.click('a[href^="/login?"]');
            await popup.waitFor('form[action$="/sign-in"]');
            await moveOn(page);
            await consent(popup);
            assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        });
    }

    test('with delivery to loopback switched off a loopback opener gets no message', () => ({
        https: true,
        settings: '[delivery]\nloopback = false\n',
    }), async ({ server, context }) => {
        const { page, popup } = await openFrom(context, sites.local, start(server));
        await logIn(popup);
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });

    // The button that sends the AuthID to an opener that is neither on loopback nor on the list

    // A popup, opened by a page that is not trusted, in which the AuthID is to be seen.
    async function untrusted({ server, context }) {
        const { page, popup } = await openFrom(context, sites.nas, start(server));
        const authid = await logIn(popup);
        await popup.front();
        return { page, popup, authid };
    }

    test('a person who means it can send the AuthID to the page that asked, by a button that names it', HTTPS, async (parts) => {
        const { page, popup, authid } = await untrusted(parts);
        assert.equal(await popup.text('#send button'), `Send to ${sites.nas.origin}`);
        await popup.resize(360, 740);
        for (const name of ['#send b', '#send .origin']) assert.equal(await popup.evaluate(LINES, name), 1, name);
        await armed(popup);
        await popup.click('#send button');
        await popup.waitFor('[data-state="sent"].on');
        assert.deepEqual(await messagesOf(page, popup), [`authid:${authid}`, TO_ANYBODY]);
    });

    test('a click that comes too soon, or that a script makes, sends nothing', HTTPS, async (parts) => {
        const { page, popup } = await untrusted(parts);
        await popup.evaluate(TIME, 'stands still');
        await popup.click('#send button');
        await popup.evaluate(TIME, 'flies');
        await armed(popup);
        await popup.evaluate(() => {
            const button = document.querySelector('#send button');
            button.click();
            button.dispatchEvent(new MouseEvent('click', { bubbles: true }));
        });
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        await popup.waitFor('#send button');
    });

    test('a click that a moved window was made to catch sends nothing', HTTPS, async (parts) => {
        const { page, popup } = await untrusted(parts);
        await armed(popup);
        await popup.evaluate(TIME, 'stands still');
        await popup.resize(470, 610);
        await popup.click('#send button');
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });

    test('a window too small to show what the button is about never arms it', HTTPS, async (parts) => {
        const { page, popup } = await untrusted(parts);
        await popup.evaluate(TIME, 'flies');
        // No window of WebKit is as narrow as the last.
        for (const [width, height] of [[450, 160], [450, 399], [319, 600]].slice(0, engine === 'webkit' ? 2 : 3)) {
            await popup.resize(width, height);
            await popup.evaluate(() => document.querySelector('#send button').scrollIntoView({ block: 'end' }));
            await popup.waitFor('#send button[aria-disabled="true"]');
            await popup.move(10, 10);
            await popup.move(20, 10);
            await popup.evaluate(TIME, 'flies');
            await popup.click('#send button');
            assert.equal(await popup.attribute('#send button', 'aria-disabled'), 'true', `${width} by ${height}`);
        }
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        await popup.resize(450, 600);
        await popup.evaluate(() => scrollTo(0, 0));
        await armed(popup);
    });

    test('a button that the opener scrolls under the pointer is disarmed', HTTPS, async (parts) => {
        const { page, popup } = await untrusted(parts);
        await popup.resize(450, 420);
        await popup.evaluate(() => document.querySelector('#send').scrollIntoView({ block: 'end' }));
        await armed(popup);
        await popup.evaluate(TIME, 'stands still');
        const before = await popup.evaluate(() => scrollY);
        // What the opener does, to whom the address is known once the page has cleaned it.
        await page.evaluate((url) => void popup.location.replace(url), `${parts.server.url}/logged-in#send`);
        await popup.until('the page has moved', (from) => scrollY !== from, before);
        await popup.waitFor('#send button[aria-disabled="true"]');
        await popup.click('#send button');
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });

    test('the click sends nothing to an evil page that has taken the place of the one that asked', HTTPS, async (parts) => {
        const { page, popup } = await untrusted(parts);
        await moveOn(page);
        await popup.front();
        await armed(popup);
        await popup.click('#send button');
        await popup.waitFor('[data-state="sent"].on');
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });

    // The mailbox

    const question = (server, token = ATTACKERS) => `${server.url}/fetch?callback=answered&token=${token}`;

    test('the mailbox gives the AuthID to a page on loopback, once', HTTPS, async ({ server, context }) => {
        const page = await show(context, sites.local, '/', listener(`${start(server)}&token=${ATTACKERS}`));
        const authid = await logIn(await openPopup(context, page));
        assert.deepEqual(await askByScript(page, question(server)), { authid });
        assert.ok((await askByScript(page, question(server))).wait);
    });

    // How somebody who knows the token may bring a person to our page: the page that the person is on, and its link.
    const LURES = {
        'a link without a Referer': (target) => `<a id="go" rel="noreferrer" href="${target}">Free storage</a>`,
        'a link on a foreign page': (target) => `<a id="go" href="${target}">Free storage</a>`,
        'a link that shows the whole foreign address': (target) =>
            `<meta name="referrer" content="unsafe-url"><a id="go" href="${target}">Free storage</a>`,
        'a frame without an origin': (target) =>
            `<iframe id="frame" sandbox="allow-scripts allow-popups allow-popups-to-escape-sandbox"
                srcdoc="<a id=go target=_blank href='${target.replaceAll('&', '&amp;')}'>Free storage</a>"></iframe>`,
    };
    for (const [name, lure] of Object.entries(LURES)) {
        test(`${name} with the attacker's token leaves the mailbox empty`, HTTPS, async ({ server, context }) => {
            const bait = await show(context, sites.evil, '/bait', lure(`${start(server)}&token=${ATTACKERS}`));
            let page = bait;
            if (name.startsWith('a frame')) page = await context.popup(() => bait.clickInFrame('#go'));
            else await bait.click('#go');
            assert.match(await logIn(page), /^v3:/);
            const spy = await show(context, sites.evil, '/spy', '<p>');
            assert.ok((await askByScript(spy, question(server))).wait);
        });
    }

    const addToken = (token) => {
        const link = document.querySelector('a[href^="/login?"]');
        link.setAttribute('href', `${link.getAttribute('href')}&token=${token}`);
    };

    test("a token beside the login link's own is not looked at", HTTPS, async ({ server, context }) => {
        const { page, popup } = await openFrom(context, sites.local, start(server));
        await popup.waitFor('a[href^="/login?"]');
        await popup.evaluate(addToken, ATTACKERS);
        await logIn(popup);
        assert.ok((await askByScript(page, question(server))).wait);
    });

    if (engine === 'chromium' || FULL) {
        for (const token of ['short', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'abababababababababababab']) {
            test(`the token ${token} is too weak to be given anything`, HTTPS, async ({ server, context }) => {
                const page = await show(context, sites.local, '/', listener(`${start(server)}&token=${token}`));
                assert.match(await logIn(await openPopup(context, page)), /^v3:/);
                assert.ok((await askByScript(page, question(server, token))).error);
            });
        }
    }

    // What other sites can make of /fetch

    // Each way of loading something on `page`, and whether it came through.
    const WAYS = {
        'a stylesheet': (url) =>
            new Promise((resolve) => {
                const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: url });
                link.onload = () => resolve(true);
                link.onerror = () => resolve(false);
                document.head.append(link);
            }),
        'an image': (url) =>
            new Promise((resolve) => {
                const image = new Image();
                image.onload = () => resolve(true);
                image.onerror = () => resolve(false);
                image.src = url;
            }),
        'text to read': (url) =>
            fetch(url).then(
                (answer) => answer.ok,
                () => false,
            ),
        'text to read, with cookies': (url) =>
            fetch(url, { credentials: 'include' }).then(
                (answer) => answer.ok,
                () => false,
            ),
        'a module': (url) =>
            import(url).then(
                () => true,
                () => false,
            ),
        'a plugin': (url) =>
            new Promise((resolve) => {
                const object = Object.assign(document.createElement('object'), { data: url });
                object.onload = () => resolve(true);
                object.onerror = () => resolve(false);
                document.body.append(object);
            }),
    };
    const PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>';
    const CONTENT = {
        'a stylesheet': ['text/css', ''],
        'an image': ['image/svg+xml', PICTURE],
        'a module': ['text/javascript', ''],
        'a plugin': ['image/svg+xml', PICTURE],
    };

    test('an answer of /fetch can be loaded by other sites as a script and as nothing else', HTTPS, async ({ server, context }) => {
        const page = await show(context, sites.evil, '/', '<body>');
        for (const [name, way] of Object.entries(WAYS)) {
            if (engine === 'webkit' && name === 'a plugin') continue; // it tells of a load that was stopped, too
            sites.naive.pages['/open'] = ({ headers }, response) => {
                const [type, body] = CONTENT[name] ?? ['text/plain', ''];
                response.writeHead(200, {
                    'content-type': type,
                    'access-control-allow-origin': headers.origin ?? '*',
                    'access-control-allow-credentials': 'true',
                });
                response.end(body);
            };
            assert.equal(await page.evaluate(way, `${sites.naive.origin}/open`), true, `${name}: the attack works elsewhere`);
            assert.equal(await page.evaluate(way, question(server)), false, name);
        }
        assert.ok((await askByScript(page, question(server))).wait);
    });

    test('an answer of /fetch without a callback is for nobody but its own site', HTTPS, async ({ server, context }) => {
        const page = await show(context, sites.evil, '/', '<body>');
        const url = `${server.url}/fetch?token=${ATTACKERS}`;
        assert.equal(await askByScript(page, url), 'blocked');
        const opaque = await page.evaluate((u) => fetch(u, { mode: 'no-cors' }).then(() => 'came', () => 'blocked'), url);
        assert.equal(opaque, 'blocked');
    });

    test('a callback that is more than a name is not repeated', HTTPS, async ({ server, context }) => {
        const page = await show(context, sites.evil, '/', '<body>');
        for (const callback of ['answered(1);answered', 'answered//', 'answered=', 'x;window.stolen=1', '<script>', 'a'.repeat(200)]) {
            const url = `${server.url}/fetch?callback=${encodeURIComponent(callback)}&token=${ATTACKERS}`;
            assert.equal(await askByScript(page, url), 'blocked', callback);
        }
        assert.equal(await page.evaluate(() => window.stolen ?? null), null);
        const shown = await context.visit(`${server.url}/fetch?callback=alert&token=${ATTACKERS}`);
        assert.equal(await shown.evaluate(() => document.scripts.length), 0, 'in a window it is text');
    });
});
