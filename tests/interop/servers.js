// Authorization servers that were written by others, as Debian packages them. Each `start…` gives what a test needs:
// `toml` for authseal, what a user does in the browser (`consent`), whether the provider takes an access token
// (`accepts`), what its user does to withdraw the access there (`withdraw`), and `close`.

import { execFile, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../browser/support/server.js';
import { eventually } from '../browser/support/wait.js';

const run = promisify(execFile);
// Debian's own Python: the packages are there and nowhere else.
const PYTHON = '/usr/bin/python3';
const script = (name) => join(import.meta.dirname, 'servers', name);

// Not every one of them decodes a secret that came by HTTP Basic (RFC 6749 section 2.3.1), so this one needs no encoding.
export const CLIENT = { id: 'authseal-tests', secret: 'a-secret-of-the-tests-2f7c1e' };

// The part of a configuration that is alike for all: `facts` are lines of the provider's table.
const tables = (name, scopes, facts) => `
[clients.home]
id = "${CLIENT.id}"
secret = "${CLIENT.secret}"

[services.homedrive]
provider = "home"
name = "Home drive"
scopes = ${JSON.stringify(scopes)}

[providers.home]
name = "${name}"
${facts}`;

// Runs `command` until `close`, and waits until `url` is answered with something.
async function serve(undo, command, args, options, url) {
    let output = '';
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const ended = new Promise((resolve, reject) => child.once('exit', resolve).once('error', reject));
    for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text) => (output += text));
    }
    undo.push(async () => {
        child.kill('SIGKILL');
        await ended;
    });
    await eventually(`${command} answers at ${url}`, 30_000, async () => {
        if (child.exitCode !== null) {
            throw new Error(`${command} ended with ${child.exitCode}:\n${output}`);
        }
        return reached(url);
    });
}

async function reached(url) {
    try {
        await (await fetch(url, { headers: { connection: 'close' } })).arrayBuffer();
        return true;
    } catch {
        return false;
    }
}

// Whether `url` is served to whoever has this access token.
async function opens(url, accessToken) {
    const response = await fetch(url, { headers: { authorization: `Bearer ${accessToken}`, connection: 'close' } });
    await response.arrayBuffer();
    return response.status === 200;
}

async function folder(undo) {
    const path = await mkdtemp(join(tmpdir(), 'authseal-interop-'));
    undo.push(() => rm(path, { recursive: true, force: true }));
    return path;
}

// django-oauth-toolkit: ends a refresh token when it is used, wants PKCE, and has addresses that end in a slash.
// By its issuer it is asked for a document that is redirected to an address with a slash.
export async function startDjango(undo, { callback, life = 3600, byIssuer = false, settings = {} }) {
    const [port, path] = [await freePort(), await folder(undo)];
    const url = `http://127.0.0.1:${port}`;
    const given = {
        port,
        folder: path,
        callback,
        ...CLIENT,
        settings: { ACCESS_TOKEN_EXPIRE_SECONDS: life, PKCE_REQUIRED: true, OIDC_ENABLED: byIssuer, ...settings },
    };
    await serve(undo, PYTHON, [script('django_oauth_toolkit.py'), JSON.stringify(given)], {}, `${url}/files`);
    return {
        url,
        toml: (more = '') =>
            tables(
                'Django',
                ['files.read', 'files.write'],
                `${
                    byIssuer
                        ? `issuer = "${url}/o"`
                        : `authorize_url = "${url}/o/authorize/"\ntoken_url = "${url}/o/token/"`
                }
revoke_url = "${url}/o/revoke_token/"
rotation = "single_use"
${more}`,
            ),
        async consent(page) {
            await page.fill('#id_username', 'ann');
            await page.fill('#id_password', 'annpass1');
            await page.click('input[type=submit]');
            await page.click('input[name=allow]');
        },
        accepts: (accessToken) => opens(`${url}/files`, accessToken),
        async withdraw(page) {
            await page.goto(`${url}/o/authorized_tokens/`);
            for (;;) {
                const link = page.locator('a[href*="/delete/"]').first();
                if (!(await link.count())) return;
                await link.click();
                await page.click('input[type=submit]');
            }
        },
    };
}

// Authlib on Flask: takes one way of client authentication only.
export async function startAuthlib(undo, { callback, life = 3600, rotate = false, method = 'client_secret_basic', facts = 'client_auth = "basic"', ...more }) {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const given = { port, callback, life, rotate, method, ...CLIENT, ...more };
    await serve(undo, PYTHON, [script('authlib_server.py'), JSON.stringify(given)], {}, `${url}/files`);
    return {
        url,
        toml: (more = facts) =>
            tables(
                'Authlib',
                ['files.read', 'files.write'],
                `authorize_url = "${url}/oauth/authorize"
token_url = "${url}/oauth/token"
revoke_url = "${url}/oauth/revoke"
rotation = "${rotate ? 'single_use' : 'none'}"
${more}`,
            ),
        async consent(page) {
            await page.click('button:text-is("sign-in")');
            await page.click('button:text-is("allow")');
        },
        accepts: (accessToken) => opens(`${url}/files`, accessToken),
        async withdraw() {
            await fetch(`${url}/withdraw`, { method: 'POST', headers: { connection: 'close' } });
        },
    };
}

// Glewlwyd: an issuer below a path; a refresh token that is dead gets 400 and no body.
export async function startGlewlwyd(undo, { callback, life = 3600, oneUse = true }) {
    const [port, path] = [await freePort(), await folder(undo)];
    const url = `http://127.0.0.1:${port}`;
    const database = join(path, 'glewlwyd.sqlite3');
    const schema = await readFile('/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3', 'utf8');
    const filling = run('sqlite3', [database]);
    filling.child.stdin.end(schema);
    await filling;
    await writeFile(join(path, 'glewlwyd.conf'), await configuration(port, url, path, database));
    await serve(undo, 'glewlwyd', [`--config-file=${join(path, 'glewlwyd.conf')}`], { cwd: path }, `${url}/api/`);
    const admin = new Session(`${url}/api`);
    await admin.call('POST', '/auth/', { username: 'admin', password: 'password' });
    await setUp(admin, { url, callback, life, oneUse });
    return {
        url,
        issuer: `${url}/api/oidc`,
        toml: (more = '') =>
            tables(
                'Glewlwyd',
                ['openid', 'offline_access', 'files.read', 'files.write'],
                `issuer = "${url}/api/oidc"
rotation = "${oneUse ? 'single_use' : 'none'}"
${more}`,
            ),
        // Its pages are a script's work; they call this API, and so does this.
        async consent(page) {
            await page.waitForURL(({ pathname }) => pathname === '/login.html', { waitUntil: 'commit' });
            const next = await page.evaluate(async (client) => {
                const json = (method, body) => ({
                    method,
                    headers: { 'content-type': 'application/json' },
                    body: JSON.stringify(body),
                });
                await fetch('/api/auth/', json('POST', { username: 'ann', password: 'annpass1' }));
                const scope = 'openid offline_access files.read files.write';
                await fetch(`/api/auth/grant/${client}`, json('PUT', { scope }));
                return new URLSearchParams(location.search).get('callback_url');
            }, CLIENT.id);
            await page.goto(`${next}&g_continue`);
        },
        accepts: (accessToken) => opens(`${url}/api/oidc/userinfo`, accessToken),
        async withdraw() {
            const ann = new Session(`${url}/api`);
            await ann.call('POST', '/auth/', { username: 'ann', password: 'annpass1' });
            for (const token of (await ann.call('GET', '/oidc/token/')).filter(({ enabled }) => enabled)) {
                await ann.call('DELETE', `/oidc/token/${encodeURIComponent(token.token_hash)}`);
            }
        },
    };
}

async function configuration(port, url, path, database) {
    const packaged = await readFile('/etc/glewlwyd/glewlwyd.conf', 'utf8');
    const values = {
        port,
        external_url: `"${url}"`,
        log_file: `"${join(path, 'glewlwyd.log')}"`,
        static_files_path: '"/usr/share/glewlwyd/webapp"',
    };
    const kept = packaged
        .split('\n')
        .filter((line) => !/^\s*@include/.test(line) && !Object.keys(values).some((key) => line.trim().startsWith(`${key}=`)));
    const lines = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    lines.push('bind_address="127.0.0.1"', `database = { type = "sqlite3"; path = "${database}"; };`);
    return [...lines, ...kept].join('\n');
}

class Session {
    #cookie = '';

    constructor(api) {
        this.api = api;
    }

    async call(method, path, body) {
        const headers = { 'content-type': 'application/json', cookie: this.#cookie, connection: 'close' };
        const response = await fetch(this.api + path, { method, headers, body: body && JSON.stringify(body) });
        const text = await response.text();
        if (!response.ok) {
            throw new Error(`${method} ${path}: ${response.status} ${text}`);
        }
        const [cookie] = response.headers.getSetCookie();
        this.#cookie = cookie?.split(';')[0] ?? this.#cookie;
        return text ? JSON.parse(text) : undefined;
    }
}

async function setUp(admin, { url, callback, life, oneUse }) {
    const keys = generateKeyPairSync('rsa', {
        modulusLength: 2048,
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    await admin.call('POST', '/mod/plugin/', {
        module: 'oidc',
        name: 'oidc',
        display_name: 'OpenID Connect',
        parameters: {
            iss: `${url}/api/oidc`,
            'jwt-type': 'rsa',
            'jwt-key-size': '256',
            key: keys.privateKey,
            cert: keys.publicKey,
            'access-token-duration': life,
            'refresh-token-duration': 1_209_600,
            'code-duration': 600,
            'refresh-token-rolling': true,
            'refresh-token-one-use': oneUse ? 'always' : 'never',
            'allow-non-oidc': true,
            'auth-type-code-enabled': true,
            'auth-type-token-enabled': false,
            'auth-type-id-token-enabled': true,
            'auth-type-none-enabled': false,
            'auth-type-password-enabled': false,
            'auth-type-client-enabled': true,
            'auth-type-refresh-enabled': true,
            'pkce-allowed': true,
            'pkce-method-plain-allowed': false,
            'pkce-required': true,
            'introspection-revocation-allowed': true,
            'introspection-revocation-allow-target-client': true,
            'subject-type': 'public',
            'address-claim': { type: 'no' },
            'name-claim': 'no',
            'email-claim': 'no',
            'scope-claim': 'no',
            'code-replay': true,
            'code-revoke-replay': true,
        },
    });
    for (const name of ['files.read', 'files.write', 'offline_access']) {
        const scope = { name, display_name: name, description: name, password_required: true, scheme: {} };
        await admin.call('POST', '/scope/', scope);
    }
    await admin.call('POST', '/user/', {
        username: 'ann',
        name: 'Ann',
        password: 'annpass1',
        email: 'ann@example.org',
        scope: ['g_profile', 'openid', 'files.read', 'files.write', 'offline_access'],
        enabled: true,
    });
    await admin.call('POST', '/client/', {
        client_id: CLIENT.id,
        name: 'authseal',
        confidential: true,
        client_secret: CLIENT.secret,
        redirect_uri: [callback],
        authorization_type: ['code', 'refresh_token', 'delete_token'],
        scope: [],
        enabled: true,
        token_endpoint_auth_method: ['client_secret_basic', 'client_secret_post'],
    });
}
