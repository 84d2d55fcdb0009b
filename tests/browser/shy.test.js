// Browsers that keep cookies or referrers to themselves, in three engines: the former are told so, with the latter all
// works but the way of the AuthID by itself.

import assert from 'node:assert/strict';
import { logIn, setLab } from './support/lab.js';

const PASSWORD = 'correct horse';
const NO_COOKIE = 'This browser keeps no cookie of this site';

setLab({}, ({ test }) => {
    test('a browser without cookies is told so by the login link', {}, async ({ provider, server, context }) => {
        const page = await context.visit(`${server.url}/?type=localdrive`);
        await page.click('a[href^="/login?"]');
        await page.headed(NO_COOKIE);
        assert.ok(!provider.requests.some(({ path }) => path === '/auth'));
        assert.equal(server.output.split('the browser sent no cookie of this site').length, 2, 'one line of the log');
    });

    test('a browser without cookies is told so by the right password', { password: PASSWORD }, async ({ server, context }) => {
        const page = await context.visit(`${server.url}/?type=localdrive`);
        await page.type('#password', PASSWORD);
        await page.click('button[type="submit"]');
        await page.headed(NO_COOKIE);
    });
}, { cookies: false });

setLab({}, ({ engine, test }) => {
    if (engine === 'webkit') return; // there they cannot be switched off
    test('without referrers a login works, and so do its forms', { https: true, password: PASSWORD }, async ({ server, context }) => {
        const page = await context.visit(`${server.url}/?type=localdrive`);
        await page.type('#password', PASSWORD);
        await page.click('button[type="submit"]');
        const authid = await logIn(page);
        await page.goto(`${server.url}/inspect`);
        await page.type('#authid', authid);
        await page.click('button[type="submit"]');
        await page.headed('What this AuthID is');
    });
}, { referrers: false });
