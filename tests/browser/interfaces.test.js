// Duplicati's two web interfaces in three engines: the person clicks, logs in, consents, and the field fills by itself.
// Also where the person loads a page again, goes back, or says no by mistake.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { actOut, classicInterface, launchBrowser, logIn as logInThere, newInterface } from './support/browser.js';
import { ALLOW, DENY, logIn, openPopup, pressLast, setLab, show } from './support/lab.js';
import { serverTest } from './support/server.js';

const LOGIN = 'a[href^="/login?"]';
const SIGN_IN = 'form[action$="/sign-in"] button';

setLab({ ui: 'localhost' }, ({ sites, test }) => {
    // Opens `html` as Duplicati's interface and lets the person act in the popup, up to the last button.
    async function fill({ server, context }, html, act) {
        const page = await show(context, sites.ui, '/', html);
        const popup = await openPopup(context, page);
        await act(popup);
        await pressLast(context, page, popup, ALLOW);
        const field = await page.value('#field');
        assert.match(field, /^v3:localdrive:/);
        assert.equal((await server.refresh(field)).status, 200);
        return { page, field };
    }

    async function upToConsent(popup) {
        await popup.click(LOGIN);
        await popup.click(SIGN_IN);
    }

    for (const path of ['/?type=localdrive', '/refresh?type=localdrive']) {
        test(`the new interface gets one message with the AuthID, opened at ${path}`, {}, async (parts) => {
            const { page, field } = await fill(parts, newInterface(parts.server.url + path), upToConsent);
            assert.deepEqual(await page.evaluate(() => window.messages), [`authid:${field}`]);
        });

        test(`it gets it at the other name of this machine, too, opened at ${path}`, {}, async (parts) => {
            const other = parts.server.url.replace('127.0.0.1', 'localhost');
            await fill(parts, newInterface(other + path), upToConsent);
        });
    }

    test('the classic interface finds the AuthID by asking for it', {}, async (parts) => {
        await fill(parts, classicInterface(parts.server.url), upToConsent);
    });

    const INTERFACES = {
        'the new interface': ({ url }) => newInterface(`${url}/?type=localdrive`),
        'the classic interface': ({ url }) => classicInterface(url),
    };
    for (const [name, html] of Object.entries(INTERFACES)) {
        test(`${name} gets it although every page was loaded again and gone back to`, {}, async (parts) => {
            await fill(parts, html(parts.server), async (popup) => {
                await popup.waitFor(LOGIN);
                await popup.reload();
                await popup.click(LOGIN);
                await popup.waitFor(SIGN_IN);
                await popup.reload();
                await popup.waitFor(SIGN_IN);
                await popup.back();
                await popup.waitFor(LOGIN);
                await popup.reload();
                await upToConsent(popup);
                await popup.waitFor(ALLOW);
                await popup.reload();
            });
        });

        test(`${name} gets it although its user said no at first`, {}, async (parts) => {
            await fill(parts, html(parts.server), async (popup) => {
                await upToConsent(popup);
                await popup.click(DENY);
                await popup.headed('No access was given');
                await popup.reload();
                await popup.click('a[href^="/?type=localdrive&ctx="]');
                await popup.waitFor(LOGIN);
                await popup.reload();
                await popup.click(LOGIN);
            });
        });
    }

    test('the page with the AuthID shows it once, and selects it at a click', {}, async ({ server, context }) => {
        const page = await context.visit(`${server.url}/?type=localdrive`);
        const authid = await logIn(page);
        await page.click('#authid');
        const selected = () => {
            const { selectionStart, selectionEnd, value } = document.querySelector('#authid');
            return selectionStart === 0 && selectionEnd === value.length;
        };
        await page.until('all of it is selected', selected);
        await page.reload();
        await page.headed('This page cannot be loaded twice');
        assert.ok(!(await page.html()).includes('v3:'));
        await page.goto(`${server.url}/privacy-policy`);
        await page.back();
        await page.at(`${server.url}/logged-in`);
        assert.ok(!(await page.html()).includes('v3:'));
        assert.equal((await server.refresh(authid)).status, 200);
    });

    for (const path of ['/inspect', '/revoke']) {
        test(`what was pasted at ${path} is gone when its user comes back`, {}, async ({ server, context }) => {
            const page = await context.visit(server.url + path);
            await page.type('#authid', 'v3:localdrive:1:secret');
            await page.click('button[type="submit"]');
            await page.waitFor('[role="alert"]');
            await page.evaluate(() => void (window.isAnswer = true));
            await page.back();
            await page.until('the form is back', () => !window.isAnswer && document.querySelector('#authid') !== null);
            assert.equal(await page.value('#authid'), '');
        });
    }
});

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

for (const [name, html] of [
    ['new', ({ url }) => newInterface(`${url}/refresh?type=localdrive`)],
    ['classic', ({ url }) => classicInterface(url)],
]) {
    serverTest(`nothing on the way to the ${name} interface makes the browser complain`, {}, async ({ server }) => {
        const { field, complaints } = await actOut(browser, html(server), logInThere);
        assert.match(field, /^v3:localdrive:/);
        assert.deepEqual(complaints, []);
    });
}

serverTest('the page shows the AuthID in the popup, and the address holds no code', {}, async ({ server }) => {
    const page = await browser.newPage({ viewport: { width: 450, height: 600 } });
    try {
        await page.goto(`${server.url}/?type=localdrive`);
        await logInThere(page);
        assert.match(await page.inputValue('#authid'), /^v3:localdrive:/);
        await page.waitForURL(`${server.url}/logged-in`);
        const overhang = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overhang <= 0, `the page is ${overhang} px wider than the popup`);
    } finally {
        await page.close();
    }
});
