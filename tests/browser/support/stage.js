// Tests in which a browser meets authseal on https and other websites: one browser and one set of sites for each file.

import { after, before } from 'node:test';
import { launchBrowser } from './browser.js';
import { serverTest } from './server.js';
import { startSite } from './site.js';

export const HTTPS = { https: true };

// `hosts` names the sites: { evil: 'evil.test' }. Gives them back under the same names once the tests run, and `browser`.
export function setStage(hosts, options) {
    const stage = {};
    before(async () => {
        stage.browser = await launchBrowser(options);
        for (const [name, host] of Object.entries(hosts)) stage[name] = await startSite(host);
    });
    after(async () => {
        await stage.browser.close();
        for (const name of Object.keys(hosts)) await stage[name].close();
    });
    // A test with an authseal and with `context`, the profile of one person's browser; `another()` makes further ones.
    stage.test = (title, manner, body) =>
        serverTest(title, manner, async (parts) => {
            const contexts = [];
            const another = async (settings) => {
                contexts.push(await stage.browser.newContext(settings));
                contexts.at(-1).setDefaultTimeout(10_000);
                return contexts.at(-1);
            };
            try {
                await body({ ...parts, context: await another(), another });
            } finally {
                for (const context of contexts) await context.close();
            }
        });
    return stage;
}

// A page of `context` at `url`.
export async function visit(context, url) {
    const page = await context.newPage();
    await page.goto(url);
    return page;
}

// The page `path` of `site`, which shall hold `html`.
export function show(context, site, path, html) {
    site.pages[path] = html;
    return visit(context, site.origin + path);
}

// How often the provider was asked to let somebody log in.
export const askedToLogIn = (provider) => provider.requests.filter(({ path }) => path === '/auth').length;

// With a second service, whose logins are made with a token that a person pastes.
export const PASTE = {
    https: true,
    settings: `
[providers.pasting]
name = "Paste & Co"
flow = "paste"
paste_url = "https://paste.test/tokens"
token_url = "https://paste.test/token"
rotation = "none"
public_client_id = "anybody"

[clients.pasting]
enabled = true

[services.pastedrive]
provider = "pasting"
name = "Paste Drive"
scopes = ["files"]
`,
};
