// `authseal demo` with both of Duplicati's web interfaces: each of their nine AuthID links ends with a filled field, and
// what fills it works.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { actOut, classicInterface, launchBrowser, newInterface, startOpener } from './support/browser.js';
import { BINARY, ENVIRONMENT } from './support/server.js';

// What Duplicati's pages ask for, and the service of the AuthID. pCloud's is the provider's own token.
const SERVICES = {
    googledrive: 'googledrive',
    gcs: 'gcs',
    onedrivev2: 'onedrivev2',
    sharepoint: 'sharepoint',
    msgroup: 'msgroup',
    box: 'box.com',
    dropbox: 'dropbox',
    jottacloud: 'jottacloud',
    pcloud: undefined,
};
const DEMO = /This is a demo/;

let browser;
let folder;
let demo;
let url;
before(async () => {
    browser = await launchBrowser();
    folder = await mkdtemp(join(tmpdir(), 'authseal-demo-test-'));
    const env = { ...ENVIRONMENT, TMPDIR: folder };
    demo = spawn(BINARY, ['demo', '--listen', '127.0.0.1:0'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    url = await new Promise((resolve, reject) => {
        let output = '';
        demo.once('exit', (code) => reject(new Error(`the demo ended with ${code}`)));
        demo.stdout.setEncoding('utf8').on('data', (text) => {
            output += text;
            const found = /^authseal demo: (\S+)/.exec(output);
            if (found) resolve(found[1]);
        });
    });
});
after(async () => {
    demo.removeAllListeners('exit');
    const ended = new Promise((resolve) => demo.once('exit', resolve));
    demo.kill();
    await ended;
    await browser.close();
    await rm(folder, { recursive: true, force: true });
});

const said = async (page, pattern) => assert.match(await page.textContent('body'), pattern);

// What a person does in the window, the button at the end included where there is something to read first.
async function act(popup, type, { deny = false } = {}) {
    await popup.waitForSelector('main');
    await said(popup, DEMO);
    if (type === 'jottacloud') {
        const [tab] = await Promise.all([popup.waitForEvent('popup'), popup.click('ol a')]).catch(() => []);
        const page = tab ?? (await openBeside(popup));
        await said(page, /Jottacloud/);
        const token = await page.inputValue('textarea');
        await page.close();
        await popup.fill('#token', token);
        await popup.click('form button[type="submit"]');
        return;
    }
    await popup.click('a[href^="/login?"]');
    await popup.waitForSelector('button[value="allow"]');
    await said(popup, /in the place of/);
    if (deny) {
        await popup.click('button[value="deny"]');
        await popup.waitForSelector('a.button');
        await said(popup, DEMO);
        await popup.click('a.button');
        return act(popup, type);
    }
    await popup.click('button[value="allow"]');
    if (type === 'pcloud') {
        await popup.waitForSelector('#send button');
        await said(popup, /pCloud Europe/);
        await popup.mouse.move(20, 20);
        await popup.waitForSelector('#send button[aria-disabled="false"]');
        await popup.click('#send button');
    }
}

async function openBeside(popup) {
    const page = await popup.context().newPage();
    await page.goto(await popup.getAttribute('ol a', 'href'));
    return page;
}

async function assertWorks(field, type) {
    const service = SERVICES[type];
    if (!service) return assert.match(field, /^[0-9a-f]{32}$/);
    assert.ok(field.startsWith(`v3:${service}:`), field);
    for (const authid of [field, encodeURIComponent(field)]) {
        const answer = await fetch(`${url}/refresh`, { headers: { 'X-AuthID': authid } });
        assert.equal(answer.status, 200, await answer.clone().text());
        assert.equal((await answer.json()).type, service);
    }
}

for (const type of Object.keys(SERVICES)) {
    test(`the link of ${type} fills the field in the new interface`, async () => {
        const { field, messages, complaints } = await actOut(browser, newInterface(`${url}/refresh?type=${type}`), (popup) =>
            act(popup, type),
        );
        assert.deepEqual([messages, complaints], [[`authid:${field}`], []]);
        await assertWorks(field, type);
    });

    test(`the link of ${type} fills the field in the classic interface`, async () => {
        const { field, complaints } = await actOut(browser, classicInterface(url, type), (popup) => act(popup, type));
        assert.deepEqual(complaints, []);
        await assertWorks(field, type);
    });
}

// What people write into the option `oauth-url`, by what each interface makes of it.
const other = () => url.replace('127.0.0.1', 'localhost');
for (const [what, base] of [
    ['a slash at the end', () => `${url}/refresh/`],
    ['capitals', () => `${url}/Refresh`],
    ['a blank at the end', () => `${url}/refresh%20`],
    ['a query of its own', () => `${url}/refresh?tenant=x`],
    ['another name of this machine', () => other()],
]) {
    test(`an oauth-url with ${what} fills the field in the new interface`, async () => {
        const target = base() === other() ? `${other()}/refresh?type=dropbox` : `${base()}?type=dropbox`;
        const { field, messages } = await actOut(browser, newInterface(target), (popup) => act(popup, 'dropbox'));
        assert.deepEqual(messages, [`authid:${field}`]);
        await assertWorks(field, 'dropbox');
    });

    test(`an oauth-url with ${what} fills the field in the classic interface`, async () => {
        const { field } = await actOut(browser, classicInterface(base(), 'dropbox'), (popup) => act(popup, 'dropbox'));
        await assertWorks(field, 'dropbox');
    });
}

test('after a denial and "Try again" both interfaces still get the AuthID', async () => {
    for (const page of [newInterface(`${url}/refresh?type=dropbox`), classicInterface(url, 'dropbox')]) {
        const { field } = await actOut(browser, page, (popup) => act(popup, 'dropbox', { deny: true }));
        await assertWorks(field, 'dropbox');
    }
});

test('a window that was loaded again after the login leads back to the same service and the same page', async () => {
    const page = newInterface(`${url}/?type=pcloud`);
    const { field } = await actOut(browser, page, async (popup) => {
        await popup.click('a[href^="/login?"]');
        await popup.click('button[value="allow"]');
        await popup.waitForSelector('#send button');
        await popup.waitForURL(`${url}/logged-in`);
        await popup.reload();
        await said(popup, /cannot be loaded twice/);
        await popup.click('a.button');
        await act(popup, 'pcloud');
    });
    await assertWorks(field, 'pcloud');
});

test('a page of a browser that tells nothing is for copying, and says why', async () => {
    // As from a page with https to this server with http.
    const page = newInterface(`${url}/?type=dropbox`).replace('<title>', '<meta name="referrer" content="no-referrer"><title>');
    const opener = await startOpener(page);
    const context = await browser.newContext();
    try {
        const ui = await context.newPage();
        await ui.goto(opener.url);
        const [popup] = await Promise.all([ui.waitForEvent('popup'), ui.click('#open')]);
        await act(popup, 'dropbox');
        await popup.waitForSelector('#authid');
        await said(popup, /a page with https does not tell a server with http/);
        assert.equal(await ui.inputValue('#field'), '');
    } finally {
        await context.close();
        await opener.close();
    }
});
