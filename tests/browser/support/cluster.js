// Several authseal processes with one configuration behind HAProxy, and a Redis where they want one: as an operator of
// many replicas runs them.

import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Person } from './person.js';
import { startProvider } from './provider.js';
import { BINARY, ENVIRONMENT, configuration, freePort } from './server.js';
import { eventually } from './wait.js';

const run = promisify(execFile);

// A test with three replicas. `manner` goes to `startProvider`, and has more: `store`, "redis", "dir" or "memory"; `hashed`:
// the balancer, "haproxy" or "nginx", sends requests with the same argument `token` to the same replica; `apart`: each replica has a keyring file
// of its own, and an admin listener.
export function clusterTest(title, manner, body) {
    test(title, async (t) => {
        const undo = [];
        t.after(async () => {
            for (const step of undo.reverse()) await step();
        });
        const cluster = await startCluster(undo, manner);
        try {
            await body({ ...cluster, person: new Person(), t });
        } catch (error) {
            const logs = cluster.replicas.map((replica) => replica.output).join('\n---\n');
            throw new Error(`${error.message}\n\nthe replicas wrote:\n${logs}`, { cause: error });
        }
    });
}

async function startCluster(undo, manner) {
    const folder = await mkdtemp(join(tmpdir(), 'authseal-cluster-'));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const provider = await startProvider({ redirectUri: `${url}/logged-in`, ...manner });
    undo.push(() => provider.close());
    const redis = manner.store === 'redis' ? new Redis(folder, await freePort()) : undefined;
    if (redis) {
        undo.push(() => redis.end());
        await redis.start();
    }
    const store = { redis: () => `redis://127.0.0.1:${redis.port}/0`, dir: () => 'dir:state', memory: () => 'memory' }[manner.store]();
    const top = 'server.trusted_proxies = ["127.0.0.2"]';
    const settings = `\n[state]\nstore = "${store}"\n`;
    const text = configuration(url, port, provider, { ...manner, top, settings });
    await writeFile(join(folder, 'authseal.toml'), text);
    await run(BINARY, ['keys', 'new'], { cwd: folder, env: ENVIRONMENT });
    await run(BINARY, ['denylist', 'init'], { cwd: folder, env: ENVIRONMENT });
    const replicas = [];
    for (let number = 0; number < 3; number += 1) {
        const replica = new Replica(folder, await freePort());
        if (manner.apart) await replica.setApart(await freePort(), number);
        replicas.push(replica);
    }
    for (const replica of replicas) undo.push(() => replica.kill());
    await Promise.all(replicas.map((replica) => replica.start()));
    const kind = manner.hashed ?? 'haproxy';
    const file = join(folder, `${kind}.conf`);
    await writeFile(file, kind === 'nginx' ? nginx(port, replicas) : haproxy(port, replicas, manner.hashed));
    const balancer = new Child(kind, kind === 'nginx' ? ['-p', folder, '-e', 'stderr', '-c', file] : ['-db', '-f', file], folder);
    balancer.spawn();
    undo.push(() => balancer.kill());
    await eventually('the balancer is ready', 10_000, async () => (await status(`${url}/readyz`)) === 200);
    return { url, server: { url, folder }, provider, replicas, redis };
}

// The balancer of docs/scaling.md, but for its ports and TLS. It has an address of its own, so that it is not taken for a
// visitor. `hashed` is the variant without a shared store.
function haproxy(port, replicas, hashed) {
    const servers = replicas.map((replica, at) => `    server replica${at} 127.0.0.1:${replica.port} check inter 100ms rise 1 fall 1 source 127.0.0.2`);
    return `
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 60s
    option forwardfor
    option redispatch 1
    retries 3
    retry-on conn-failure
frontend public
    bind 127.0.0.1:${port}
    default_backend authseal
backend authseal
    ${hashed ? 'balance url_param token check_post\n    hash-type consistent' : 'balance roundrobin'}
    option httpchk GET /readyz
${servers.join('\n')}
`;
}

// The same of nginx, which has the variant without a shared store alone; in one process, so that killing it ends all of it.
function nginx(port, replicas) {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path temp;`);
    return `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    ${temporary.join(' ')}
    map $arg_token $authseal_key { "" $request_id; default $arg_token; }
    upstream authseal {
        hash $authseal_key consistent;
${replicas.map((replica) => `        server 127.0.0.1:${replica.port};`).join('\n')}
    }
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_pass http://authseal;
            proxy_bind 127.0.0.2;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }
    }
}
`;
}

// A process that a test can kill and start again.
class Child {
    #child;
    #ended = Promise.resolve();
    output = '';

    constructor(program, args, cwd) {
        Object.assign(this, { program, args, cwd, env: ENVIRONMENT });
    }

    spawn() {
        this.#child = spawn(this.program, this.args, { cwd: this.cwd, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
        for (const stream of [this.#child.stdout, this.#child.stderr]) {
            stream.setEncoding('utf8').on('data', (text) => (this.output += text));
        }
        this.#ended = new Promise((resolve, reject) => this.#child.once('exit', resolve).once('error', reject));
    }

    // Ends it without a word.
    async kill() {
        this.#child?.kill('SIGKILL');
        await this.#ended;
    }

    // Ends it as a service manager does, and gives its exit code.
    async stop() {
        this.#child.kill('SIGTERM');
        return this.#ended;
    }
}

class Replica extends Child {
    constructor(folder, port) {
        super(BINARY, ['serve', '--config', join(folder, 'authseal.toml'), '--listen', `127.0.0.1:${port}`], folder);
        this.port = port;
    }

    async setApart(adminPort, number) {
        this.admin = `http://127.0.0.1:${adminPort}`;
        this.keyring = join(this.cwd, `keys-${number}.toml`);
        this.env = { ...ENVIRONMENT, AUTHSEAL_KEYRING__FILE: this.keyring, AUTHSEAL_ADMIN__LISTEN: `127.0.0.1:${adminPort}` };
        await this.takeKeyring();
    }

    // Puts the keyring that the folder has into the place of the replica's own, whole.
    async takeKeyring() {
        await copyFile(join(this.cwd, 'keys.toml'), `${this.keyring}.new`);
        await rename(`${this.keyring}.new`, this.keyring);
    }

    async start() {
        this.spawn();
        await eventually(`the replica at ${this.port} is ready`, 10_000, async () => (await status(`http://127.0.0.1:${this.port}/readyz`)) === 200);
    }
}

class Redis extends Child {
    constructor(folder, port) {
        const settings = ['--port', `${port}`, '--bind', '127.0.0.1', '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
        super('redis-server', [...settings, '--dir', folder], folder);
        this.port = port;
    }

    async start() {
        this.spawn();
        await eventually('Redis answers', 10_000, () => this.command('PING').then((answer) => answer.startsWith('+PONG')));
    }

    // One command, its answer as text.
    command(line) {
        return new Promise((resolve) => {
            const socket = connect(this.port, '127.0.0.1', () => socket.write(`${line}\r\n`));
            socket.once('data', (data) => {
                socket.destroy();
                resolve(String(data));
            });
            socket.once('error', () => resolve(''));
        });
    }

    end() {
        return this.kill();
    }
}

// A verb of the command line beside the replicas; what it said on both streams, and its exit code.
export async function authseal(folder, ...args) {
    try {
        const { stdout, stderr } = await run(BINARY, args, { cwd: folder, env: ENVIRONMENT });
        return { code: 0, said: stdout + stderr };
    } catch ({ code, stdout, stderr }) {
        return { code, said: stdout + stderr };
    }
}

// GET /refresh as a backup client does it.
export async function refresh(url, authid) {
    try {
        const response = await fetch(`${url}/refresh`, { headers: { 'x-authid': authid }, redirect: 'manual' });
        const text = await response.text();
        const body = response.status === 200 ? JSON.parse(text) : {};
        return { ...body, status: response.status, reason: response.headers.get('x-reason') };
    } catch (error) {
        return { status: 0, reason: String(error.cause ?? error) };
    }
}

async function status(url) {
    try {
        const response = await fetch(url, { headers: { connection: 'close' } });
        await response.arrayBuffer();
        return response.status;
    } catch {
        return undefined;
    }
}
