// Three replicas behind a balancer, without sticky sessions: a login wanders from one to the next, refresh tokens that
// work once are spent once, and what dies is not missed.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { actOut, classicInterface, launchBrowser, logIn } from './support/browser.js';
import { clusterTest, refresh } from './support/cluster.js';
import { eventually } from './support/wait.js';

const FULL = process.env.TESTS_FULL !== undefined;
const ONCE = { store: 'redis', rotation: 'single_use' };

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

// `count` logins.
async function logins(server, person, count) {
    const authids = [];
    while (authids.length < count) authids.push((await person.logIn(server)).authid);
    return authids;
}

// Twenty clients ask with `authids` again and again until `done`; every answer goes to `take`.
async function load(url, authids, done, take) {
    const client = async (number) => {
        for (let turn = number; !done(); turn += 1) {
            const authid = authids[turn % authids.length];
            take(authid, await refresh(url, authid));
        }
    };
    await Promise.all(Array.from({ length: 20 }, (_, number) => client(number)));
}

const refreshCalls = (provider) => provider.tokenCalls('refresh_token');

clusterTest(
    'twenty clients on three replicas spend each refresh token once',
    { ...ONCE, accessTokenSeconds: 4 },
    async ({ url, server, provider, person }) => {
        const authids = await logins(server, person, 4);
        const tokens = new Set();
        let answers = 0;
        // 25 expiries of each of the four logins, twice that in full; far more than 500 refreshes meanwhile.
        const expiries = 4 * (FULL ? 25 : 5);
        await load(url, authids, () => refreshCalls(provider).length >= expiries && answers >= 500, (_, answer) => {
            assert.equal(answer.status, 200, JSON.stringify(answer));
            tokens.add(answer.access_token);
            answers += 1;
        });
        const calls = refreshCalls(provider);
        assert.deepEqual(new Set(calls.map(({ status }) => status)), new Set([200]), 'reuse was never detected');
        const spent = calls.map(({ params }) => params.refresh_token);
        assert.equal(new Set(spent).size, spent.length, 'no refresh token came twice');
        // One call for each expiry: each call's token was handed out, and else those of the logins alone.
        const given = new Set(calls.map(({ answer }) => answer.access_token));
        assert.ok([...given].every((token) => tokens.has(token)));
        assert.ok(tokens.size - given.size <= authids.length, `${tokens.size} tokens of ${given.size} calls`);
    },
);

clusterTest(
    'replicas and Redis die in the middle of it, and what is lost is said and goes no further',
    { ...ONCE, accessTokenSeconds: 4 },
    async ({ url, server, provider, person, replicas, redis }) => {
        const authids = await logins(server, person, 6);
        const lost = new Map();
        const statuses = new Set();
        const rounds = FULL ? 40 : 8;
        let over = false;
        let answers = 0;
        const deaths = async () => {
            for (let round = 0; round < rounds; round += 1) {
                // A moment that has nothing to do with what the provider is doing.
                const moment = answers + 100 + Math.floor(Math.random() * 200);
                await eventually('answers continue', 40_000, () => answers > moment);
                const victim = round % 4 === 3 ? redis : replicas[round % 3];
                await victim.kill();
                await victim.start();
            }
            over = true;
        };
        await Promise.all([
            deaths(),
            load(url, authids, () => over, (authid, answer) => {
                answers += 1;
                statuses.add(answer.status);
                if (answer.status === 401) lost.set(authid, answer.reason);
            }),
        ]);
        // 503 is also the balancer's own, for a replica that died under a request.
        assert.ok([...statuses].every((status) => [0, 200, 401, 503].includes(status)), [...statuses].join());
        for (const reason of lost.values()) assert.match(reason, /no longer accepts this login/);
        // A strict provider ends a login whose answer a death swallowed: one at most for each call under way then.
        const reused = provider.requests.filter(({ path, status }) => path === '/token' && status === 400).length;
        assert.ok(lost.size <= rounds * 2, `${lost.size} lost in ${rounds} deaths`);
        assert.ok(reused >= lost.size);
        for (const authid of authids.filter((authid) => !lost.has(authid))) {
            const good = async () => {
                const answer = await refresh(url, authid);
                if (answer.status === 401) lost.set(authid, answer.reason);
                return answer.status === 200 || answer.status === 401;
            };
            await eventually('the others continue', 40_000, good);
        }
        assert.ok(lost.size < authids.length || FULL, 'not all are lost');
        const { authid } = await person.logIn(server);
        assert.equal((await refresh(url, authid)).status, 200);
    },
);

clusterTest(
    'replicas are restarted one after the other under load, and no request fails',
    { ...ONCE, accessTokenSeconds: 4, drainSeconds: 1 },
    async ({ url, server, person, replicas }) => {
        const authids = await logins(server, person, 4);
        let over = false;
        let answers = 0;
        const restart = async () => {
            for (let round = 0; round < (FULL ? 5 : 1); round += 1) {
                for (const replica of replicas) {
                    assert.equal(await replica.stop(), 0);
                    await replica.start();
                    const before = answers;
                    await eventually('it is asked again', 10_000, () => answers > before + 50);
                }
            }
            over = true;
        };
        await Promise.all([
            restart(),
            load(url, authids, () => over, (_, answer) => {
                assert.equal(answer.status, 200, JSON.stringify(answer));
                answers += 1;
            }),
        ]);
    },
);

clusterTest('with Redis any replica has the AuthID that waits', { store: 'redis' }, async ({ url }) => {
    const { field, complaints } = await actOut(browser, classicInterface(url), logIn);
    assert.match(field, /^v3:localdrive:/);
    assert.deepEqual(complaints, []);
    assert.equal((await refresh(url, field)).status, 200);
});

for (const hashed of ['haproxy', 'nginx']) {
    clusterTest(`without one the page hands it to the replica that ${hashed} will ask`, { store: 'memory', hashed }, async ({ url, replicas }) => {
        const { field } = await actOut(browser, classicInterface(url), logIn);
        assert.match(field, /^v3:localdrive:/);
        assert.equal((await refresh(url, field)).status, 200);
        for (const replica of replicas) assert.equal((await refresh(`http://127.0.0.1:${replica.port}`, field)).status, 200);
    });
}

clusterTest('without Redis services whose tokens stay continue to work, and those that rotate say why not', { ...ONCE }, async ({ url, server, person, replicas, redis }) => {
    const { authid } = await person.logIn(server);
    assert.equal((await refresh(url, authid)).status, 200);
    await redis.kill();
    // What a replica remembers is still good; one that starts again remembers nothing.
    await replicas[0].kill();
    await replicas[0].start();
    const direct = `http://127.0.0.1:${replicas[0].port}`;
    const answer = await refresh(direct, authid);
    assert.equal(answer.status, 503);
    assert.match(answer.reason, /state store/);
    const page = await person.startLogin(server);
    assert.equal(page.status, 502, 'nothing is spent on a login that could not be kept');
    assert.match(page.text, /could not be kept/);
    await redis.start();
    await eventually('it recovers by itself', 15_000, async () => (await refresh(direct, authid)).status === 200);
    await redis.command('FLUSHALL');
    await replicas[0].kill();
    await replicas[0].start();
    const emptied = await refresh(direct, authid);
    assert.equal(emptied.status, 401);
    assert.match(emptied.reason, /memory of this login is gone/);
});
