// Tests in which each of the three engines meets authseal on https and other websites, and the little window in which a
// person logs in there.

import { after, before } from 'node:test';
import { onEveryEngine } from './engine.js';
import { listener, TO_ANYBODY } from './popup.js';
import { serverTest } from './server.js';
import { startSite } from './site.js';
import { eventually } from './wait.js';

// Makes the tests that `define` makes of a lab, in each engine. `hosts` names the sites: { evil: 'evil.test' }; the lab has
// them under the same names once the tests run. Its tests get an authseal and `context`, the profile of one person's
// browser; `another()` makes further ones. `options` go to the engines.
export function setLab(hosts, define, options) {
    const sites = {};
    before(async () => {
        for (const [name, host] of Object.entries(hosts)) sites[name] = await startSite(host);
    });
    after(async () => {
        for (const site of Object.values(sites)) await site.close();
    });
    onEveryEngine((engine, browser) => {
        const test = (title, manner, body) =>
            serverTest(title, manner, async (parts) => {
                const contexts = [];
                const another = async () => {
                    contexts.push(await browser().newContext());
                    return contexts.at(-1);
                };
                try {
                    await body({ ...parts, context: await another(), another });
                } finally {
                    for (const context of contexts) await context.close();
                }
            });
        define({ engine, sites, test });
    }, options);
}

// A page of `context`, the page `path` of `site`, which shall hold `html`.
export function show(context, site, path, html) {
    site.pages[path] = html;
    return context.visit(site.origin + path);
}

// The popup of a page that has a button for it.
export const openPopup = (context, page) => context.popup(() => page.click('#open'));

// The page of `site` that opens `target` in a popup, and that popup.
export async function openFrom(context, site, target) {
    const page = await show(context, site, '/', listener(target));
    return { page, popup: await openPopup(context, page) };
}

// The button with which a person says yes at the provider, and the other one.
export const ALLOW = 'form[action$="/allow"] button';
export const DENY = 'form[action$="/deny"] button';

// Presses the button after which `page`, Duplicati's, closes the window, and waits for that.
export async function pressLast(context, page, popup, selector) {
    await popup.click(selector).catch(async (error) => {
        if (await context.has(popup)) throw error;
    });
    await eventually('the window has closed', 15_000, async () => {
        if (!(await context.has(popup))) return true;
        const isThere = await popup.ask(() => location.pathname === '/logged-in' && location.search === '');
        if (isThere) await page.evaluate(() => window.letClose?.());
    });
}

// What a person does from the start page to the page with the AuthID, which is given back.
export async function logIn(popup) {
    await popup.click('a[href^="/login?"]');
    return consent(popup);
}

// The same from the provider's first page on.
export async function consent(popup) {
    await popup.click('form[action$="/sign-in"] button');
    await popup.click(ALLOW);
    await popup.at((url) => url.pathname === '/logged-in' && url.search === ''); // its script has run
    return popup.value('#authid');
}

// Every message that `page` got. Messages arrive in the order in which they were sent, so once this last one of the popup
// is there, none is still to come; and its arrival proves that the way from the popup to `page` was open.
export async function messagesOf(page, popup) {
    await popup.evaluate((text) => opener.postMessage(text, '*'), TO_ANYBODY);
    await page.until('the last message is there', (text) => messages.includes(text), TO_ANYBODY);
    return page.evaluate(() => messages);
}
