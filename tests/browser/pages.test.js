// The pages as people meet them: in a popup, on a telephone, on a desktop, in light and in dark, with a screen reader,
// without JavaScript, with names and AuthIDs of any length. On the way each page is photographed, into docs/screenshots
// when TESTS_SCREENSHOTS=1 is set, otherwise below target/.

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { HTTPS, PASTE, setStage, show, visit } from './support/stage.js';
import { shrink } from './support/png.js';
import { listener, logIn, messagesOf, openPopup, TO_ANYBODY } from './support/popup.js';

const stage = setStage({ local: 'localhost', nas: 'nas.test' });

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ROOT = resolve(import.meta.dirname, '../..');
const SHOTS = resolve(ROOT, process.env.TESTS_SCREENSHOTS === '1' ? 'docs' : process.env.CARGO_TARGET_DIR ?? 'target', 'screenshots');
await mkdir(SHOTS, { recursive: true });

const SIZES = {
    popup: { width: 450, height: 600 },
    narrow: { width: 320, height: 568 },
    desktop: { width: 1280, height: 800 },
};
const SCHEMES = ['light', 'dark'];

// All services that people see, and one whose name is as long as names come.
const LONG_NAME = 'Storage of the Institute for Applied Hydrodynamics and Neighbouring Sciences';
const CLIENTS = ['google', 'microsoft', 'box', 'dropbox', 'pcloud'];
const MANY = {
    https: true,
    settings: PASTE.settings
        + CLIENTS.map((id) => `[clients.${id}]\nid = "${id}-tests"\nsecret = "a secret of ${id}"\n`).join('\n')
        + '[clients.jottacloud]\nenabled = true\n',
};
const LONG = {
    https: true,
    serviceName: LONG_NAME,
    refreshTokenBits: 6 * 4330, // makes AuthIDs of some 6,000 characters
    settings: PASTE.settings.replace('Paste Drive', `${LONG_NAME}, pasted`).replace('Paste & Co', LONG_NAME.repeat(2)),
};

// What differs from one run to the next, in the words of the screenshots.
function still() {
    const EXAMPLE = 'v3:localdrive:1:' + 'Zm9yIHRoZSBzY3JlZW5zaG90IG9ubHk_'.repeat(11);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.data = walker.currentNode.data
            .replace(/\b[0-9a-f]{32}\b/, '5d41402abc4b2a76b9719d911017c592')
            .replace(/\b(revoke:[^:]+:\d+:)[0-9a-z-]{53}/, '$1bgbj8sne-rrze7gba-dgw88xqr-3x3hmwdc-d50ghtwc-c4agj3v3')
            .replace(/\b[0-9a-f]{16}\b/, '5f3a9c21d07b664e')
            .replace(/\b[0-9]{1,2} [A-Z][a-z]+ [0-9]{4}, [0-9]{2}:[0-9]{2} UTC/, '23 November 2026, 10:00 UTC')
            .replace(/localhost:[0-9]+/, 'localhost:8200')
            .replace(/nas\.test:[0-9]+/, 'nas.lan:8200');
    }
    const field = document.querySelector('#authid[readonly]');
    if (field) field.value = EXAMPLE;
}

// How far the page has moved under the reader since it came, and how much wider it is than its window.
async function restlessness(page) {
    await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))));
    return page.evaluate(() => ({
        shift: window.shifts.reduce((sum, { value }) => sum + value, 0),
        sideways: Math.max(0, document.documentElement.scrollWidth - innerWidth),
    }));
}

// Keeps a record of everything that moves by itself.
const watchShifts = (context) =>
    context.addInitScript(() => {
        window.shifts = [];
        new PerformanceObserver((list) => window.shifts.push(...list.getEntries())).observe({ type: 'layout-shift', buffered: true });
    });

async function violations(page) {
    await page.evaluate(AXE);
    const { violations: found } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`);
}

// Looks at a page that has just come in all sizes and colours. `name` is that of its pictures; without one there are none.
async function inspect(page, name) {
    assert.deepEqual(await restlessness(page), { shift: 0, sideways: 0 }, `${name ?? page.url()} as it came`);
    await look(page, name);
}

// The same for a page that has been looked at, or was changed, before.
async function look(page, name) {
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        for (const colorScheme of SCHEMES) {
            await page.emulateMedia({ colorScheme });
            const where = `${name ?? page.url()} ${size} ${colorScheme}`;
            assert.deepEqual(await violations(page), [], where);
            assert.equal((await restlessness(page)).sideways, 0, where);
            if (name && size !== 'narrow') {
                await page.evaluate(still);
                const shot = shrink(await page.screenshot({ fullPage: true }));
                await writeFile(join(SHOTS, `${name}-${size}-${colorScheme}.png`), shot);
            }
        }
    }
}

// Opens `target` in the popup of a page on `site`, and logs in there.
async function loggedIn(context, site, target) {
    const opener = await show(context, site, '/', listener(target));
    const popup = await openPopup(opener);
    const authid = await logIn(popup);
    return { opener, popup, authid };
}

stage.test('what is looked for here is found on a page that has it', HTTPS, async ({ context }) => {
    await watchShifts(context);
    const page = await show(context, stage.nas, '/', `<style>p { color: #bbb; background: #fff; width: 2000px }</style>
        <img alt=""><p>pale and wide<script>
            setTimeout(() => { document.querySelector('img').style.height = '300px'; document.title = 'grown'; }, 600);
        </script>`);
    await page.waitForFunction(() => document.title === 'grown');
    const { shift, sideways } = await restlessness(page);
    assert.ok(shift > 0 && sideways > 0, `${shift} ${sideways}`);
    assert.ok((await violations(page)).some((violation) => violation.startsWith('color-contrast')));
});

stage.test('the pages of a server with many services', MANY, async ({ server, context }) => {
    await watchShifts(context);
    const pages = {
        index: '/',
        filtered: '/?type=localdrive',
        revoke: '/revoke',
        privacy: '/privacy-policy',
        error: '/logged-in?code=1&state=1',
    };
    for (const [name, path] of Object.entries(pages)) await inspect(await visit(context, server.url + path), name);
    for (const path of ['/?type=onedrive', '/?type=jottacloud', '/nothing-here', '/login?id=unheard-of']) {
        await inspect(await visit(context, server.url + path));
    }
    await context.route('https://my.pcloud.com/**', (route) => {
        const location = `${server.url}/logged-in?code=1&hostname=api.pcloud.com`; // without the state
        return route.fulfill({ status: 303, headers: { location } });
    });
    const confirm = await visit(context, `${server.url}/?type=pcloud`);
    await confirm.click('a[href^="/login?"]');
    await confirm.waitForSelector('form[method="post"]');
    await inspect(confirm);
    const paste = await visit(context, `${server.url}/?type=pastedrive`);
    await paste.waitForSelector('#token');
    await inspect(paste, 'paste');
    await paste.fill('#token', 'AAAA');
    await paste.click('button[type="submit"]');
    await paste.waitForSelector('[role="alert"]');
    await inspect(paste);
});

stage.test('the page with the AuthID, for every kind of opener, and the page after it was revoked', HTTPS, async ({ server, context }) => {
    await watchShifts(context);
    const start = `${server.url}/?type=localdrive`;
    const { popup, authid } = await loggedIn(context, stage.local, start);
    await inspect(popup, 'logged-in');
    await context.clearCookies();
    await inspect((await loggedIn(context, stage.local, `${start}&token=abcdefghijklmnop0123`)).popup);
    await context.clearCookies();
    const asked = (await loggedIn(context, stage.nas, start)).popup;
    const [box, sentence] = await asked.evaluate(() => ['.status', '.status .on'].map((part) => document.querySelector(part).offsetHeight));
    assert.equal(box, sentence, 'no room is kept for what only a click brings');
    await inspect(asked);
    await context.clearCookies();
    const alone = await visit(context, start);
    await logIn(alone);
    await inspect(alone);
    await alone.evaluate(() => dispatchEvent(new Event('pagehide')));
    await look(alone);
    const moved = await visit(context, start);
    await moved.click('a[href^="/login?"]');
    await moved.waitForSelector('button');
    await moved.setExtraHTTPHeaders({ 'x-test-client': '198.51.100.9' });
    await moved.click('button:text-is("allow")');
    await moved.waitForSelector('[role="alert"]');
    await inspect(moved);

    const checked = await visit(context, `${server.url}/inspect`);
    await inspect(checked, 'inspect');
    await checked.fill('#authid', authid);
    await checked.click('button[type="submit"]');
    await checked.click('button[value="test"]');
    await checked.waitForSelector('[role="status"], [role="alert"]');
    await inspect(checked, 'inspected');
    await checked.click('form summary');
    await look(checked);
    await checked.click('button[value="anew"]');
    await checked.waitForSelector('#authid[readonly]');
    await inspect(checked);

    const revoke = await visit(context, `${server.url}/revoke`);
    await revoke.fill('#authid', authid);
    await revoke.click('button[type="submit"]');
    await revoke.waitForURL(`${server.url}/revoked`);
    await inspect(revoke, 'revoked');
});

stage.test('the page that asks for the password, and the message that comes after it', { https: true, password: 'correct horse' }, async ({ server, context }) => {
    await watchShifts(context);
    const opener = await show(context, stage.local, '/', listener(`${server.url}/?type=localdrive`));
    const popup = await openPopup(opener);
    await inspect(popup, 'password');
    await popup.fill('input[type=password]', 'wrong horse');
    await popup.click('main button');
    await popup.waitForLoadState();
    await inspect(popup);
    await popup.fill('input[type=password]', 'correct horse');
    await popup.click('main button');
    const authid = await logIn(popup);
    assert.deepEqual(await messagesOf(opener, popup), [`authid:${authid}`, TO_ANYBODY]);
});

stage.test('names and AuthIDs as long as they come', LONG, async ({ server, context }) => {
    await watchShifts(context);
    for (const path of ['/', '/?type=localdrive', '/cli-token?id=pastedrive&ctx=x']) {
        await inspect(await visit(context, server.url + path));
    }
    const { opener, popup, authid } = await loggedIn(context, stage.local, `${server.url}/?type=localdrive`);
    assert.ok(authid.length > 5_900, `${authid.length}`);
    assert.deepEqual(await messagesOf(opener, popup), [`authid:${authid}`, TO_ANYBODY]);
    assert.equal((await server.refresh(authid)).status, 200);
    await inspect(popup);
    const revoke = await visit(context, `${server.url}/revoke`);
    await revoke.fill('#authid', authid);
    await look(revoke);
});

stage.test('without JavaScript a login ends with an AuthID to copy, and nothing is promised that cannot be', PASTE, async ({ server, another }) => {
    const context = await another({ javaScriptEnabled: false, viewport: SIZES.popup });
    const page = await visit(context, `${server.url}/?type=localdrive`);
    await page.click('a[href^="/login?"]');
    await page.click('button:text-is("sign-in")');
    await page.click('button:text-is("allow")');
    const authid = await page.inputValue('#authid');
    assert.equal((await server.refresh(authid)).status, 200);
    assert.equal(await page.isVisible('#copy'), false);
    assert.ok(!/10 minutes/.test(await page.innerText('main')));

    await page.goto(`${server.url}/revoke`);
    await page.fill('#authid', authid);
    await page.click('button[type="submit"]');
    assert.equal(await page.textContent('h1'), 'Access revoked');
    await page.goto(`${server.url}/?type=pastedrive`);
    assert.equal(await page.textContent('h1'), 'Connect Paste Drive');
});

const SITE = `
[site]
name = "Sicherungen der Gesellschaft für angewandte Wasserforschung"
contact = "it-hilfe@angewandte-wasserforschung.example"
imprint_url = "https://angewandte-wasserforschung.example/impressum"
`;

stage.test('the pages in German, with the name of who runs the server', { ...MANY, settings: MANY.settings + SITE }, async ({ server, another }) => {
    const context = await another({ locale: 'de-AT' });
    await watchShifts(context);
    for (const path of ['/', '/?type=localdrive', '/?type=unheard-of', '/?type=onedrive', '/revoke', '/inspect', '/privacy-policy', '/nothing-here']) {
        const page = await visit(context, server.url + path);
        assert.equal(await page.getAttribute('html', 'lang'), 'de');
        await inspect(page);
    }
    const { popup, authid } = await loggedIn(context, stage.nas, `${server.url}/?type=localdrive`);
    assert.equal(await popup.textContent('h1'), 'Ihre AuthID für Local Drive');
    await inspect(popup);
    const checked = await visit(context, `${server.url}/inspect`);
    await checked.fill('#authid', authid);
    await checked.click('button[type="submit"]');
    await checked.waitForSelector('.status .good');
    for (const summary of await checked.$$('summary')) await summary.click();
    await look(checked);
    const revoke = await visit(context, `${server.url}/revoke`);
    await revoke.fill('#authid', `revoke:${authid}`);
    await revoke.click('button[type="submit"]');
    await revoke.waitForSelector('[role="alert"]');
    await inspect(revoke);
});

stage.test('the revoke code can be copied, and saved in a file that does not hold the AuthID', HTTPS, async ({ server, another }) => {
    const context = await another({ permissions: ['clipboard-read', 'clipboard-write'], acceptDownloads: true });
    const page = await visit(context, `${server.url}/?type=localdrive`);
    const authid = await logIn(page);
    const code = await page.inputValue('#revoke-code');
    assert.match(code, /^revoke:localdrive:1:/);
    await page.click('[data-copies="revoke-code"]');
    await page.waitForFunction(() => document.getElementById('copy-said').textContent !== '');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
    assert.match(file.suggestedFilename(), /^revoke-code-[0-9a-f]{8}\.txt$/);
    const saved = await readFile(await file.path(), 'utf8');
    assert.ok(saved.includes(code) && saved.includes(`${server.url}/revoke`) && saved.includes('Local Drive'), saved);
    assert.ok(!saved.includes(authid) && !saved.includes('<'), saved);
});

stage.test('the copy button puts the AuthID into the clipboard and says so', HTTPS, async ({ server, another }) => {
    const context = await another({ permissions: ['clipboard-read', 'clipboard-write'] });
    const page = await visit(context, `${server.url}/?type=localdrive`);
    const authid = await logIn(page);
    await page.focus('#copy');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.getElementById('copy-said').textContent !== '');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), authid);
});
