// A storage provider's OAuth side: the certified `oidc-provider`, with a sign-in and a consent page of our own and three
// manners of dealing with refresh tokens. It records every request that reaches it, so that a test can say "the provider
// was not asked".

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js';

// What happens to the refresh token when it is used:
//   none         it stays as it is
//   rolling      a new one comes with each answer, and the old ones stay valid
//   single_use   a new one comes, and showing an old one again kills the whole login
export const ROTATIONS = ['none', 'rolling', 'single_use'];

export const CLIENT = { id: 'authseal-tests', secret: 'a secret of the tests, 2f7c1e' };

// The reason that the provider gives when the person says no; nobody but a debug log may repeat it.
export const DENIAL = 'The end-user pressed the other button';

const signingKey = {
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
    alg: 'RS256',
    use: 'sig',
};

// Starts a provider on a free port. `redirectUri` is the only one it accepts; access tokens live `accessTokenSeconds`; its
// discovery document names `clientAuth` as the one way in which a client may authenticate; a refresh token has a character
// for 6 of its `refreshTokenBits`; `pushed`: it requires pushed authorization requests.
export async function startProvider({
    redirectUri,
    rotation = 'none',
    accessTokenSeconds = 3600,
    clientAuth = 'client_secret_post',
    refreshTokenBits = 256,
    pushed = false,
}) {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(
        issuer,
        configuration({ redirectUri, rotation, accessTokenSeconds, clientAuth, refreshTokenBits, pushed }),
    );

    const requests = [];
    provider.use(async (ctx, next) => {
        const request = { method: ctx.method, path: ctx.path, params: {} };
        requests.push(request);
        await next();
        Object.assign(request, { status: ctx.status, params: { ...(ctx.oidc?.body ?? ctx.oidc?.params) }, answer: ctx.body });
    });

    const answer = provider.callback();
    server.on('request', (request, response) => {
        const url = new URL(request.url, issuer);
        if (!url.pathname.startsWith('/interaction/')) {
            answer(request, response);
            return;
        }
        interact(provider, url.pathname.split('/')[3], request, response).catch((error) => {
            response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error));
        });
    });

    return {
        issuer,
        requests,
        // The token requests so far, oldest first; with `grantType` only those.
        tokenCalls(grantType) {
            return requests.filter(
                ({ method, path, params }) =>
                    method === 'POST' && path === '/token' && (!grantType || params.grant_type === grantType),
            );
        },
        // Asks the provider whose the token is: the status of its answer.
        async accepts(accessToken) {
            const response = await fetch(`${issuer}/me`, {
                headers: { authorization: `Bearer ${accessToken}`, connection: 'close' },
            });
            await response.arrayBuffer();
            return response.status === 200;
        },
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            server.closeAllConnections();
            await closed;
        },
    };
}

function configuration({ redirectUri, rotation, accessTokenSeconds, clientAuth, refreshTokenBits, pushed }) {
    if (!ROTATIONS.includes(rotation)) {
        throw new Error(`no such rotation: ${rotation}`);
    }
    const adapters = createMemoryAdapter();
    return {
        adapter(model) {
            const adapter = adapters(model);
            if (rotation === 'rolling' && model === 'RefreshToken') {
                adapter.consume = async () => {}; // the old one is never marked as used, so it stays valid
            }
            return adapter;
        },
        clients: [
            {
                client_id: CLIENT.id,
                client_secret: CLIENT.secret,
                redirect_uris: [redirectUri],
                grant_types: ['authorization_code', 'refresh_token'],
                response_types: ['code'],
                token_endpoint_auth_method: clientAuth,
            },
        ],
        clientAuthMethods: [clientAuth],
        rotateRefreshToken: rotation !== 'none',
        pkce: { required: () => true },
        jwks: { keys: [signingKey] },
        formats: { bitsOfOpaqueRandomness: (_, token) => (token.kind === 'RefreshToken' ? refreshTokenBits : 256) },
        cookies: { keys: ['a key of the tests'] },
        features: {
            devInteractions: { enabled: false },
            revocation: { enabled: true, allowedPolicy: ownToken },
            pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: pushed },
        },
        interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
        findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
        scopes: ['openid', 'offline_access', 'files'],
        ttl: {
            AccessToken: accessTokenSeconds,
            AuthorizationCode: 60,
            Grant: 3600,
            IdToken: 3600,
            Interaction: 600,
            RefreshToken: 86400,
            Session: 3600,
        },
    };
}

// RFC 7009, section 2.1: a client may revoke what was issued to it.
const ownToken = (_, client, token) => token.clientId === client.clientId;

// The pages on which the person acts: GET shows what is asked for, POST …/sign-in, …/allow and …/deny are the buttons.
async function interact(provider, button, request, response) {
    const { uid, prompt, params, session, grantId } = await provider.interactionDetails(request, response);
    const finish = (result) =>
        provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });

    if (request.method === 'GET') {
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
        response.end(page(uid, prompt.name));
    } else if (button === 'sign-in') {
        await finish({ login: { accountId: 'somebody' } });
    } else if (button === 'deny') {
        await finish({ error: 'access_denied', error_description: DENIAL });
    } else {
        const grant = grantId
            ? await provider.Grant.find(grantId)
            : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
        grant.addOIDCScope(params.scope);
        await finish({ consent: { grantId: await grant.save() } });
    }
}

function page(uid, prompt) {
    const button = (name) => `<form method="post" action="/interaction/${uid}/${name}"><button>${name}</button></form>`;
    const buttons = prompt === 'login' ? button('sign-in') : button('allow') + button('deny');
    return `<!doctype html><title>${prompt}</title><link rel="icon" href="data:,">${buttons}`;
}
