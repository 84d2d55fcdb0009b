// Attacks on the way of the AuthID from our page to the page that asked for it. Beside each stands the same act by
// somebody entitled, which must succeed.

import assert from 'node:assert/strict';
import { HTTPS, setStage, show, visit } from './support/stage.js';
import { askByScript, consent, listener, logIn, messagesOf, openPopup, TO_ANYBODY } from './support/popup.js';
import { eventually } from './support/wait.js';

const stage = setStage({
    local: 'localhost',
    nas: 'nas.test',
    otherPort: 'nas.test',
    evil: 'evil.test',
    naive: 'naive.test',
});

const start = (server) => `${server.url}/?type=localdrive`;
const listed = () => ({ https: true, settings: `[delivery]\ntrusted_origins = ["${stage.nas.origin}"]\n` });
// A token that an attacker knows, for he made it himself.
const ATTACKERS = 'attackerattacker0123456789';

for (const [who, site] of [['on loopback', 'local'], ['on the list', 'nas']]) {
    stage.test(`an opener ${who} gets exactly one message`, listed, async ({ server, context }) => {
        const page = await show(context, stage[site], '/', listener(start(server)));
        const popup = await openPopup(page);
        const authid = await logIn(popup);
        assert.deepEqual(await messagesOf(page, popup), [`authid:${authid}`, TO_ANYBODY]);
    });
}

stage.test('a page that names no receiver gives the secret to any opener', HTTPS, async ({ context }) => {
    stage.naive.pages['/'] = `<script>opener.postMessage('authid:the secret', '*')</script>`;
    const page = await show(context, stage.evil, '/', listener(`${stage.naive.origin}/`));
    const popup = await openPopup(page);
    assert.deepEqual(await messagesOf(page, popup), ['authid:the secret', TO_ANYBODY]);
});

for (const [who, site] of [['on a foreign site', 'evil'], ['on another port of a listed host', 'otherPort']]) {
    stage.test(`an opener ${who} gets no message`, listed, async ({ server, context }) => {
        const page = await show(context, stage[site], '/', listener(start(server)));
        const popup = await openPopup(page);
        assert.match(await logIn(popup), /^v3:/);
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    });
}

stage.test('an opener whose popup went through a trusted page gets no message', listed, async ({ server, context }) => {
    for (const trusted of [stage.local, stage.nas]) {
        trusted.pages['/link'] = `<a id="go" href="${start(server)}">Get an AuthID</a>`;
        const page = await show(context, stage.evil, '/', listener(`${trusted.origin}/link`));
        const popup = await openPopup(page);
        await popup.click('#go'); // so the trusted page is the one that leads to us, and the evil one the opener
        await logIn(popup);
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        await popup.context().clearCookies(); // the provider asks again
    }
});

stage.test('an opener that a trusted redirect sends to us gets no message', listed, async ({ server, context }) => {
    stage.nas.pages['/away'] = (_, response) => response.writeHead(302, { location: start(server) }).end();
    const page = await show(context, stage.evil, '/', listener(`${stage.nas.origin}/away`));
    const popup = await openPopup(page);
    await logIn(popup);
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
});

stage.test('a popup of a popup tells neither of the two above it', HTTPS, async ({ server, context }) => {
    stage.evil.pages['/inner'] = listener(start(server));
    const outer = await show(context, stage.evil, '/', listener(`${stage.evil.origin}/inner`));
    const inner = await openPopup(outer);
    const popup = await openPopup(inner);
    await logIn(popup);
    assert.deepEqual(await messagesOf(inner, popup), [TO_ANYBODY]);
    assert.deepEqual(await messagesOf(outer, inner), [TO_ANYBODY]);
});

stage.test('a trusted opener that has moved on to an evil page gets no message', listed, async ({ server, context }) => {
    for (const trusted of [stage.local, stage.nas]) {
        const page = await show(context, trusted, '/', listener(start(server)));
        const popup = await openPopup(page);
        await popup.click('a[href^="/login?"]');
        await popup.waitForSelector('button:text-is("sign-in")');
        stage.evil.pages['/trap'] = listener('about:blank');
        const trap = `${stage.evil.origin}/trap`;
        await page.evaluate((url) => location.assign(url), trap); // not `goto`: a typed address would cut the tie
        await page.waitForURL(trap);
        await consent(popup);
        assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
        await context.clearCookies();
    }
});

stage.test('with delivery to loopback switched off a loopback opener gets no message', () => ({
    https: true,
    settings: '[delivery]\nloopback = false\n',
}), async ({ server, context }) => {
    const page = await show(context, stage.local, '/', listener(start(server)));
    const popup = await openPopup(page);
    await logIn(popup);
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
});

// The button that sends the AuthID to an opener that is neither on loopback nor on the list

// A popup, opened by a page that is not trusted, in which the AuthID is to be seen.
async function untrusted({ server, context }, query = '') {
    const page = await show(context, stage.nas, '/', listener(start(server) + query));
    const popup = await openPopup(page);
    const authid = await logIn(popup);
    return { page, popup, authid, button: popup.locator('#send button') };
}

// Moves the pointer until the button is armed. Before that Playwright would scroll to it, and that alone disarms it.
const armed = (popup) =>
    eventually('the button is armed', 10_000, async () => {
        await popup.mouse.move(10, 10);
        await popup.mouse.move(20, 10);
        return popup.$('#send button[aria-disabled="false"]');
    });

// Lets more time pass in a popup with a clock of the test than a button takes to be armed, while the pointer moves.
async function later(popup) {
    await popup.mouse.move(10, 10);
    await popup.clock.runFor(3000);
    await popup.mouse.move(20, 10);
}

stage.test('a person who means it can send the AuthID to the page that asked, by a button that names it', HTTPS, async (parts) => {
    const { page, popup, authid, button } = await untrusted(parts);
    assert.equal(await button.textContent(), `Send to ${stage.nas.origin}`);
    await armed(popup);
    await button.click();
    await popup.waitForSelector('[data-state="sent"].on');
    assert.deepEqual(await messagesOf(page, popup), [`authid:${authid}`, TO_ANYBODY]);
});

stage.test('a click that comes too soon, or that a script makes, sends nothing', HTTPS, async (parts) => {
    const { page, popup, button } = await untrusted(parts);
    await popup.mouse.move(10, 10);
    await button.click({ force: true, noWaitAfter: true });
    await armed(popup);
    await button.evaluate((armed) => armed.click());
    await button.dispatchEvent('click');
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    assert.ok(await button.isVisible());
});

stage.test('a click that a moved window was made to catch sends nothing', HTTPS, async (parts) => {
    const { page, popup, button } = await untrusted(parts);
    await armed(popup);
    await popup.setViewportSize({ width: 470, height: 610 });
    await button.click({ force: true, noWaitAfter: true });
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
});

stage.test('a window too small to show what the button is about never arms it', HTTPS, async (parts) => {
    const { page, popup, button } = await untrusted(parts);
    await popup.clock.install();
    for (const size of [{ width: 450, height: 160 }, { width: 450, height: 399 }, { width: 319, height: 600 }]) {
        await popup.setViewportSize(size);
        await popup.evaluate(() => (location.hash = 'send'));
        await popup.waitForSelector('#send button[aria-disabled="true"]');
        await later(popup);
        assert.equal(await button.getAttribute('aria-disabled'), 'true', JSON.stringify(size));
        await button.click({ force: true, noWaitAfter: true });
    }
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
    await popup.setViewportSize({ width: 450, height: 600 });
    await eventually('the button is armed', 10_000, async () => {
        await later(popup);
        return (await button.getAttribute('aria-disabled')) === 'false';
    });
});

stage.test('a button that the opener scrolls under the pointer is disarmed', HTTPS, async (parts) => {
    const { page, popup, button } = await untrusted(parts);
    await popup.setViewportSize({ width: 450, height: 420 });
    await armed(popup);
    // What the opener does, to whom the address is known once the page has cleaned it.
    await page.evaluate((url) => popup.location.replace(url), `${parts.server.url}/logged-in#send`);
    await popup.waitForFunction(() => scrollY > 0);
    await popup.waitForSelector('#send button[aria-disabled="true"]');
    await button.click({ force: true, noWaitAfter: true });
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
});

stage.test('the click sends nothing to an evil page that has taken the place of the one that asked', HTTPS, async (parts) => {
    const { page, popup, button } = await untrusted(parts);
    stage.evil.pages['/trap'] = listener('about:blank');
    const trap = `${stage.evil.origin}/trap`;
    await page.evaluate((url) => location.assign(url), trap);
    await page.waitForURL(trap);
    await popup.bringToFront();
    await armed(popup);
    await button.click();
    await popup.waitForSelector('[data-state="sent"].on');
    assert.deepEqual(await messagesOf(page, popup), [TO_ANYBODY]);
});

// The mailbox

const question = (server, token = ATTACKERS) => `${server.url}/fetch?callback=answered&token=${token}`;

stage.test('the mailbox gives the AuthID to a page on loopback, once', HTTPS, async ({ server, context }) => {
    const page = await show(context, stage.local, '/', listener(`${start(server)}&token=${ATTACKERS}`));
    const authid = await logIn(await openPopup(page));
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
    stage.test(`${name} with the attacker's token leaves the mailbox empty`, HTTPS, async ({ server, context }) => {
        const bait = await show(context, stage.evil, '/bait', lure(`${start(server)}&token=${ATTACKERS}`));
        const framed = name.startsWith('a frame');
        let page = bait;
        if (framed) {
            [page] = await Promise.all([
                bait.waitForEvent('popup'),
                bait.frameLocator('#frame').locator('#go').click(),
            ]);
        } else {
            await bait.click('#go');
        }
        assert.match(await logIn(page), /^v3:/);
        const spy = await show(context, stage.evil, '/spy', '<p>');
        assert.ok((await askByScript(spy, question(server))).wait);
    });
}

const addToken = (link, token) => link.setAttribute('href', `${link.getAttribute('href')}&token=${token}`);

stage.test("a token beside the login link's own is not looked at", HTTPS, async ({ server, context }) => {
    const page = await show(context, stage.local, '/', listener(start(server)));
    const popup = await openPopup(page);
    await popup.$eval('a[href^="/login?"]', addToken, ATTACKERS);
    await logIn(popup);
    assert.ok((await askByScript(page, question(server))).wait);
});

for (const token of ['short', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'abababababababababababab']) {
    stage.test(`the token ${token} is too weak to be given anything`, HTTPS, async ({ server, context }) => {
        const page = await show(context, stage.local, '/', listener(`${start(server)}&token=${token}`));
        assert.match(await logIn(await openPopup(page)), /^v3:/);
        assert.ok((await askByScript(page, question(server, token))).error);
    });
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

stage.test('an answer of /fetch can be loaded by other sites as a script and as nothing else', HTTPS, async ({ server, context }) => {
    const page = await show(context, stage.evil, '/', '<body>');
    for (const [name, way] of Object.entries(WAYS)) {
        stage.naive.pages['/open'] = ({ headers }, response) => {
            const [type, body] = CONTENT[name] ?? ['text/plain', ''];
            response.writeHead(200, {
                'content-type': type,
                'access-control-allow-origin': headers.origin ?? '*',
                'access-control-allow-credentials': 'true',
            });
            response.end(body);
        };
        assert.equal(await page.evaluate(way, `${stage.naive.origin}/open`), true, `${name}: the attack works elsewhere`);
        assert.equal(await page.evaluate(way, question(server)), false, name);
    }
    assert.ok((await askByScript(page, question(server))).wait);
});

stage.test('an answer of /fetch without a callback is for nobody but its own site', HTTPS, async ({ server, context }) => {
    const page = await show(context, stage.evil, '/', '<body>');
    const url = `${server.url}/fetch?token=${ATTACKERS}`;
    assert.equal(await askByScript(page, url), 'blocked');
    const opaque = await page.evaluate((u) => fetch(u, { mode: 'no-cors' }).then(() => 'came', () => 'blocked'), url);
    assert.equal(opaque, 'blocked');
});

stage.test('a callback that is more than a name is not repeated', HTTPS, async ({ server, context }) => {
    const page = await show(context, stage.evil, '/', '<body>');
    for (const callback of ['answered(1);answered', 'answered//', 'answered=', 'x;window.stolen=1', '<script>', 'a'.repeat(200)]) {
        const url = `${server.url}/fetch?callback=${encodeURIComponent(callback)}&token=${ATTACKERS}`;
        assert.equal(await askByScript(page, url), 'blocked', callback);
    }
    assert.equal(await page.evaluate('window.stolen'), undefined);
    const shown = await visit(context, `${server.url}/fetch?callback=alert&token=${ATTACKERS}`);
    assert.equal(await shown.evaluate(() => document.scripts.length), 0, 'in a window it is text');
});
