// What Chromium writes down of a form, to have it again after a crash: everything that was sent, unless a password was
// among it. Other engines do not.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { serverTest } from './support/server.js';
import { startSite } from './support/site.js';
import { eventually } from './support/wait.js';

serverTest('a pasted AuthID is in no file of the browser, and what another form sends is', {}, async ({ server }) => {
    const site = await startSite('localhost', {
        '/': '<form method="post" action="/take" autocomplete="off"><input name="x" id="authid"><button type="submit">go</button></form>',
        '/take': '<h1>taken</h1>',
    });
    const home = await mkdtemp(join(tmpdir(), 'authseal-chromium-'));
    const browser = await puppeteer.launch({
        executablePath: process.env.TESTS_CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu'],
        userDataDir: home,
    });
    const folder = join(home, 'Default', 'Sessions');
    const isWritten = async (text) => {
        const files = await readdir(folder).catch(() => []);
        const contents = await Promise.all(files.map((name) => readFile(join(folder, name), 'latin1').catch(() => '')));
        return contents.some((content) => content.includes(text));
    };
    try {
        const page = await browser.newPage();
        const send = async (url, text) => {
            await page.goto(url);
            await page.type('#authid', text);
            await Promise.all([page.waitForNavigation(), page.click('button[type="submit"]')]);
        };
        await send(`${server.url}/inspect`, 'v3:localdrive:1:INSPECTED');
        await send(`${server.url}/revoke`, 'v3:localdrive:1:REVOKED');
        await send(`${site.origin}/`, 'WRITTEN-DOWN');
        await eventually('the last form is written down', 20_000, () => isWritten('WRITTEN-DOWN'));
        assert.equal(await isWritten('INSPECTED'), false);
        assert.equal(await isWritten('REVOKED'), false);
    } finally {
        await browser.close();
        await site.close();
        await rm(home, { recursive: true, force: true, maxRetries: 10 });
    }
});
