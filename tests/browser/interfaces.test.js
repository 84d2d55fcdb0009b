// Duplicati's two web interfaces in a real browser: the person clicks, logs in, consents, and the field fills by itself.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { actOut, classicInterface, launchBrowser, logIn, newInterface } from './support/browser.js';
import { serverTest } from './support/server.js';

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

for (const path of ['/?type=localdrive', '/refresh?type=localdrive']) {
    serverTest(`the new interface gets one message with the AuthID, opened at ${path}`, {}, async ({ server }) => {
        const { field, messages, complaints } = await actOut(browser, newInterface(server.url + path), logIn);
        assert.match(field, /^v3:localdrive:/);
        assert.deepEqual(messages, [`authid:${field}`]);
        assert.deepEqual(complaints, []);
        assert.equal((await server.refresh(field)).status, 200);
    });
}

serverTest('the classic interface finds the AuthID by asking for it', {}, async ({ server }) => {
    const { field, complaints } = await actOut(browser, classicInterface(server.url), logIn);
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
