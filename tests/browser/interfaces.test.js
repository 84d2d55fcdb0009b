// Duplicati's two web interfaces in a real browser: the person clicks, logs in, consents, and the field fills by itself.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { classicInterface, launchBrowser, newInterface, startOpener } from './support/browser.js';
import { serverTest } from './support/server.js';

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

// Opens `html` as Duplicati's interface and lets the person act until the popup has closed. Gives the opener's page and
// what the browser had to complain about on any page.
async function actOut(html, act) {
    const opener = await startOpener(html);
    const context = await browser.newContext();
    const complaints = [];
    context.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    context.on('weberror', (error) => complaints.push(String(error.error())));
    context.on('requestfailed', (request) => {
        const { errorText } = request.failure();
        if (errorText !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${errorText}`); // aborted: the popup closed
    });
    await context.addInitScript(() => {
        addEventListener('securitypolicyviolation', (event) => {
            console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
        });
    });
    try {
        const page = await context.newPage();
        await page.goto(opener.url);
        const opening = page.waitForEvent('popup');
        await page.click('#open');
        const popup = await opening;
        await Promise.all([popup.waitForEvent('close'), act(popup)]);
        return { field: await page.inputValue('#field'), messages: await page.evaluate(() => window.messages), complaints };
    } finally {
        await context.close();
        await opener.close();
    }
}

// What a person does in the popup, from the start page to the provider's question.
async function logIn(popup) {
    await popup.click('a[href^="/login?"]');
    await popup.click('button:text-is("sign-in")');
    await popup.click('button:text-is("allow")');
}

for (const path of ['/?type=localdrive', '/refresh?type=localdrive']) {
    serverTest(`the new interface gets one message with the AuthID, opened at ${path}`, {}, async ({ server }) => {
        const { field, messages, complaints } = await actOut(newInterface(server.url + path), logIn);
        assert.match(field, /^v3:localdrive:/);
        assert.deepEqual(messages, [`authid:${field}`]);
        assert.deepEqual(complaints, []);
        assert.equal((await server.refresh(field)).status, 200);
    });
}

serverTest('the classic interface finds the AuthID by asking for it', {}, async ({ server }) => {
    const { field, complaints } = await actOut(classicInterface(server.url), logIn);
    assert.match(field, /^v3:localdrive:/);
    assert.deepEqual(complaints, []);
    assert.equal((await server.refresh(field)).status, 200);
});

serverTest('the page shows the AuthID in the popup, and the address holds no code', {}, async ({ server }) => {
    const page = await browser.newPage({ viewport: { width: 450, height: 600 } });
    try {
        await page.goto(`${server.url}/?type=localdrive`);
        await logIn(page);
        assert.match(await page.inputValue('#authid'), /^v3:localdrive:/);
        await page.waitForURL(`${server.url}/logged-in`);
        const overhang = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overhang <= 0, `the page is ${overhang} px wider than the popup`);
    } finally {
        await page.close();
    }
});
