// An authseal process as an operator would run it: a folder with a configuration, a keyring and a denylist, the debug
// binary, and a provider to talk to.

import { execFile, spawn } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Person } from './person.js';
import { CLIENT, startProvider } from './provider.js';
import { startFront } from './site.js';
import { eventually } from './wait.js';

const run = promisify(execFile);
export const BINARY = resolve(import.meta.dirname, '../../..', process.env.TESTS_BIN ?? 'target/debug/authseal');

// Variables of that prefix are configuration; those of the test run are not meant for the server.
export const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AUTHSEAL_')));

// A test with a provider and an authseal that uses it; both end with the test. `manner` goes to `startProvider`, and has
// more for authseal: `https` puts it behind TLS at a name of its own, which may be given, `settings` are further lines of its configuration,
// `serviceName` is what its service is called, `password` is what it asks for before a login. It may be a function that makes these when the test begins. When the test
// fails, the message ends with what authseal wrote.
export function serverTest(title, manner, body) {
    test(title, async (t) => {
        const undo = [];
        t.after(async () => {
            for (const step of undo.reverse()) {
                await step();
            }
        });
        const { server, ...parts } = await startBoth(undo, typeof manner === 'function' ? manner() : manner);
        try {
            await body({ ...parts, server, person: new Person() });
        } catch (error) {
            error.message += `\n\nauthseal wrote:\n${server.output}`;
            throw error;
        }
    });
}

async function startBoth(undo, manner) {
    const folder = await mkdtemp(join(tmpdir(), 'authseal-test-'));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const port = await freePort();
    const direct = `http://127.0.0.1:${port}`;
    let url = direct;
    let front;
    if (manner.https) {
        front = await startFront(manner.https === true ? 'auth.test' : manner.https, port);
        undo.push(() => front.close());
        url = front.origin;
    }
    const provider = await startProvider({ redirectUri: `${url}/logged-in`, ...manner });
    undo.push(() => provider.close());
    await writeFile(join(folder, 'authseal.toml'), configuration(url, port, provider, manner));
    await run(BINARY, ['keys', 'new'], { cwd: folder, env: ENVIRONMENT });
    await run(BINARY, ['denylist', 'init'], { cwd: folder, env: ENVIRONMENT });
    if (manner.password) {
        const hashing = run(BINARY, ['access', 'hash'], { cwd: folder, env: ENVIRONMENT });
        hashing.child.stdin.end(`${manner.password}\n`);
        await writeFile(join(folder, 'access-password'), (await hashing).stdout);
        await appendFile(join(folder, 'authseal.toml'), '\n[access]\npassword_file = "access-password"\n');
    }
    const server = new Authseal(folder, url, direct);
    undo.push(() => server.stop());
    await server.start();
    return { provider, server, front };
}

// An authseal in a folder of its own, with what `configure` makes of its address and port for a configuration; a second
// one may share the first one's folder, and with it keyring, denylist and state.
export async function startAuthseal(undo, configure, beside) {
    const folder = beside?.folder ?? (await mkdtemp(join(tmpdir(), 'authseal-test-')));
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const file = beside ? `authseal-${port}.toml` : 'authseal.toml';
    await writeFile(join(folder, file), await configure(url, port));
    if (!beside) {
        undo.push(() => rm(folder, { recursive: true, force: true }));
        await run(BINARY, ['keys', 'new'], { cwd: folder, env: ENVIRONMENT });
        await run(BINARY, ['denylist', 'init'], { cwd: folder, env: ENVIRONMENT });
    }
    const server = new Authseal(folder, url, url, file);
    undo.push(() => server.stop());
    await server.start();
    return server;
}

class Authseal {
    #child;
    #ended;
    #output = '';

    // Browsers see it at `url`; it listens at `direct`.
    constructor(folder, url, direct, file = 'authseal.toml') {
        Object.assign(this, { folder, url, direct, file });
    }

    // Everything that the process has written so far, over all its starts.
    get output() {
        return this.#output;
    }

    async start() {
        const arguments_ = ['serve', '--config', join(this.folder, this.file)];
        this.#child = spawn(BINARY, arguments_, { cwd: this.folder, env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] });
        for (const stream of [this.#child.stdout, this.#child.stderr]) {
            stream.setEncoding('utf8').on('data', (text) => (this.#output += text));
        }
        this.#ended = new Promise((resolve, reject) => this.#child.once('exit', resolve).once('error', reject));
        const ready = async () => {
            if (this.#child.exitCode !== null) {
                throw new Error(`authseal ended with ${this.#child.exitCode}:\n${this.#output}`);
            }
            return (await status(`${this.direct}/readyz`)) === 200;
        };
        await eventually(`${this.direct} is ready`, 10_000, ready);
    }

    // Ends the process as systemd would, and waits for its end.
    async stop() {
        if (this.#child?.exitCode === null && this.#child.signalCode === null) {
            const slow = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
            this.#child.kill('SIGTERM');
            await this.#ended;
            clearTimeout(slow);
            if (this.#child.signalCode === 'SIGKILL') {
                throw new Error(`authseal did not end within 10 s of SIGTERM:\n${this.#output}`);
            }
        }
    }

    async restart() {
        await this.stop();
        await this.start();
    }

    // GET /refresh as a backup client does it: status, X-Reason and the JSON body, if it is one.
    async refresh(authid) {
        const response = await fetch(`${this.direct}/refresh`, {
            headers: { 'x-authid': authid, 'user-agent': 'Duplicati v2.1', connection: 'close' },
            redirect: 'manual',
        });
        return { ...json(await response.text()), status: response.status, reason: response.headers.get('x-reason') };
    }

    // POST /revoked as a script does it.
    async revoke(authid) {
        const response = await fetch(`${this.direct}/revoked`, {
            method: 'POST',
            headers: { 'x-authid': authid, connection: 'close' },
        });
        await response.arrayBuffer();
        return response.status;
    }

    get denylist() {
        return join(this.folder, 'denylist');
    }

    denylistText() {
        return readFile(this.denylist, 'utf8');
    }

    // Replaces the denylist the way editors do: written aside, then renamed.
    async rewriteDenylist(text) {
        await writeFile(`${this.denylist}.new`, text);
        await rename(`${this.denylist}.new`, this.denylist);
    }

    appendToDenylist(text) {
        return appendFile(this.denylist, text);
    }
}

// The id of the login that an AuthID belongs to: the first 16 bytes of its last part.
export function grantOf(authid) {
    return Buffer.from(authid.split(':')[3], 'base64url').subarray(0, 16).toString('hex');
}

// `top` are lines before its first table, `settings` tables after its last.
export function configuration(url, port, provider, { rotation = 'none', serviceName = 'Local Drive', https, top = '', settings = '', drainSeconds = 0 }) {
    return `
public_url = "${url}"
listen = ["127.0.0.1:${port}"]
server.drain_seconds = ${drainSeconds}
${https ? 'server.trusted_proxies = ["127.0.0.1"]' : ''}
${top}

[keyring]
file = "keys.toml"

[denylist]
file = "denylist"

[clients.local]
id = "${CLIENT.id}"
secret = "${CLIENT.secret}"

[providers.local]
name = "Local Provider"
issuer = "${provider.issuer}"
rotation = "${rotation}"

[services.localdrive]
provider = "local"
name = "${serviceName}"
scopes = ["openid", "offline_access"]
${settings}`;
}

// A free port for a server that must know it beforehand. Below the range that the system gives out for port 0: whatever
// starts meanwhile, in another test or on the other end of a connection, does not take it.
export async function freePort() {
    for (;;) {
        const port = 12_000 + Math.floor(Math.random() * 20_000);
        const probe = createServer();
        const free = await new Promise((resolve) => {
            probe.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
        });
        if (free) {
            await new Promise((resolve) => probe.close(resolve));
            return port;
        }
    }
}

async function status(url) {
    try {
        const response = await fetch(url, { headers: { connection: 'close' } });
        await response.arrayBuffer();
        return response.status;
    } catch {
        return undefined; // nobody listens yet
    }
}

function json(text) {
    try {
        return JSON.parse(text);
    } catch {
        return {};
    }
}
