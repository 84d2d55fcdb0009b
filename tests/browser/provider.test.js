// The provider itself, asked by a minimal OAuth client: what the other tests take for granted about its three manners.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Person } from './support/person.js';
import { CLIENT, DENIAL, startProvider } from './support/provider.js';

const redirectUri = 'http://127.0.0.1:9/logged-in';

async function begin(t, options) {
    const provider = await startProvider({ redirectUri, ...options });
    t.after(() => provider.close());
    return provider;
}

// Where the person's decision leads: the callback's parameters.
async function authorize(provider, decision, extra = {}) {
    const verifier = randomBytes(32).toString('base64url');
    const query = new URLSearchParams({
        client_id: CLIENT.id,
        redirect_uri: redirectUri,
        response_type: 'code',
        scope: 'openid offline_access',
        prompt: 'consent',
        state: 'some state',
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        ...extra,
    });
    const person = new Person();
    const stopAt = (url) => url.startsWith(redirectUri);
    const page = await person.open(`${provider.issuer}/auth?${query}`, { stopAt });
    const { stopped } = page.stopped ? page : await person.decide(page, decision, { stopAt });
    return { verifier, callback: new URL(stopped).searchParams };
}

async function token(provider, params) {
    const response = await fetch(`${provider.issuer}/token`, {
        method: 'POST',
        headers: { connection: 'close' },
        body: new URLSearchParams({ client_id: CLIENT.id, client_secret: CLIENT.secret, ...params }),
    });
    return { status: response.status, ...(await response.json()) };
}

async function redeemed(provider) {
    const { verifier, callback } = await authorize(provider, 'allow');
    return token(provider, {
        grant_type: 'authorization_code',
        code: callback.get('code'),
        redirect_uri: redirectUri,
        code_verifier: verifier,
    });
}

const refresh = (provider, refresh_token) => token(provider, { grant_type: 'refresh_token', refresh_token });

test('a login gives tokens that the provider accepts', async (t) => {
    const provider = await begin(t, { accessTokenSeconds: 61 });
    const first = await redeemed(provider);
    assert.equal(first.status, 200);
    assert.equal(first.expires_in, 61);
    assert.ok(first.refresh_token);
    assert.ok(await provider.accepts(first.access_token));
    assert.ok(!(await provider.accepts('something else')));
});

test('every token request is recorded with its parameters and its answer', async (t) => {
    const provider = await begin(t);
    const first = await redeemed(provider);
    await refresh(provider, first.refresh_token);
    await refresh(provider, 'unknown');
    assert.equal(provider.tokenCalls().length, 3);
    assert.equal(provider.tokenCalls('authorization_code').length, 1);
    const [good, bad] = provider.tokenCalls('refresh_token');
    assert.equal(good.params.refresh_token, first.refresh_token);
    assert.equal(good.status, 200);
    assert.equal(bad.status, 400);
    assert.equal(bad.answer.error, 'invalid_grant');
});

test('without rotation the refresh token stays the same', async (t) => {
    const provider = await begin(t);
    const first = await redeemed(provider);
    const second = await refresh(provider, first.refresh_token);
    assert.equal(second.refresh_token, first.refresh_token);
    assert.notEqual(second.access_token, first.access_token);
});

test('rolling: a new refresh token comes, and the old one stays valid', async (t) => {
    const provider = await begin(t, { rotation: 'rolling' });
    const first = await redeemed(provider);
    const second = await refresh(provider, first.refresh_token);
    assert.notEqual(second.refresh_token, first.refresh_token);
    for (const { refresh_token } of [first, second, first]) {
        assert.equal((await refresh(provider, refresh_token)).status, 200);
    }
});

test('single use: showing an old refresh token again kills the login', async (t) => {
    const provider = await begin(t, { rotation: 'single_use' });
    const first = await redeemed(provider);
    const second = await refresh(provider, first.refresh_token);
    assert.equal(second.status, 200);
    assert.equal((await refresh(provider, first.refresh_token)).error, 'invalid_grant');
    assert.equal((await refresh(provider, second.refresh_token)).error, 'invalid_grant');
});

test('the discovery document names the one way to authenticate, and no other is taken', async (t) => {
    const provider = await begin(t, { clientAuth: 'client_secret_basic' });
    const response = await fetch(`${provider.issuer}/.well-known/openid-configuration`, { headers: { connection: 'close' } });
    assert.deepEqual((await response.json()).token_endpoint_auth_methods_supported, ['client_secret_basic']);
    assert.equal((await refresh(provider, 'any')).error, 'invalid_client');
});

test('the provider insists on PKCE', async (t) => {
    const provider = await begin(t);
    const { callback } = await authorize(provider, 'allow', { code_challenge: '', code_challenge_method: '' });
    assert.equal(callback.get('error'), 'invalid_request');
});

test('a person can say no', async (t) => {
    const provider = await begin(t);
    const { callback } = await authorize(provider, 'deny');
    assert.equal(callback.get('error'), 'access_denied');
    assert.equal(callback.get('error_description'), DENIAL);
    assert.equal(callback.get('state'), 'some state');
});
