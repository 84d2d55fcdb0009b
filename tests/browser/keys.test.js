// Three replicas whose keys are changed under load, each with a keyring file of its own that reaches it at a moment of its
// own: as with configuration management, in every order.

import assert from 'node:assert/strict';
import { authseal, clusterTest, refresh } from './support/cluster.js';
import { eventually } from './support/wait.js';

const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

// POST /token as an OAuth library does it; what it is to keep as its refresh token from then on.
async function exchange(url, authid) {
    const response = await fetch(`${url}/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: authid }),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer.refresh_token ?? authid;
}

clusterTest(
    'keys are changed in every order under load and no request fails; retired, with clients that keep what they are given',
    { store: 'memory', apart: true, accessTokenSeconds: 30 },
    async ({ url, server, person, replicas, t }) => {
        const keys = (...args) => authseal(server.folder, 'keys', ...args, '--keyring', 'keys.toml');
        const against = ['--against', ...replicas.map((replica) => replica.admin)];
        const done = async (...args) => {
            const { code, said } = await keys(...args);
            assert.equal(code, 0, said);
        };
        const refused = async (words, ...args) => {
            const { code, said } = await keys(...args);
            assert.equal(code, 1, said);
            assert.match(said, words);
        };
        // Gives a replica the keyring as it is now, and waits until it holds it.
        const give = async (replica) => {
            await replica.takeKeyring();
            await eventually('the replica takes it up', 10_000, async () => (await keys('verify', '--against', replica.admin)).code === 0);
        };

        const authids = [];
        while (authids.length < 6) authids.push((await person.logIn(server)).authid);
        const [pasted, kept] = [authids.slice(0, 3), authids.slice(3)];
        let answers = 0;
        let pastedOver = false;
        let over = false;
        const load = async () => {
            const classic = async (number) => {
                for (let turn = number; !pastedOver; turn += 1) {
                    const answer = await refresh(url, pasted[turn % pasted.length]);
                    assert.equal(answer.status, 200, JSON.stringify(answer));
                    answers += 1;
                }
            };
            const keeping = async (number) => {
                while (!over) {
                    kept[number] = await exchange(url, kept[number]);
                    answers += 1;
                }
            };
            await Promise.all([...Array.from({ length: 9 }, (_, number) => classic(number)), ...kept.map((_, number) => keeping(number))]);
        };
        const change = async () => {
            const began = Date.now();
            for (const [at, order] of ORDERS.entries()) {
                const epoch = at + 2;
                await done('stage');
                for (const [given, number] of order.entries()) {
                    const lacking = order.slice(given).map((other) => replicas[other].admin);
                    await refused(new RegExp(`epoch ${epoch} stays staged.*${lacking[0]}/? lacks epoch ${epoch}`, 's'), 'promote', ...against);
                    await give(replicas[number]);
                }
                await done('promote', ...against);
                // The replica that learned of it last seals first, and the other way round.
                for (const number of at % 2 ? order : order.toReversed()) {
                    await refused(new RegExp(`epoch ${epoch - 1} stays: .* still seals with it`), 'retire', `${epoch - 1}`, ...against);
                    await give(replicas[number]);
                }
                await done('verify', ...against);
            }
            const seconds = (Date.now() - began) / 1000;
            t.diagnostic(`${answers} requests while keys were changed 6 times, ${Math.round(answers / seconds)} a second`);
            const newest = ORDERS.length + 1;
            const moved = () => kept.every((authid) => authid.startsWith(`v3:localdrive:${newest}:`));
            await eventually('clients of /token are under the newest epoch', 10_000, moved);
            // In use by those who pasted theirs, so it is refused; and forced, when they have gone.
            await refused(/epoch 1 stays: it was in use/, 'retire', '1', ...against);
            pastedOver = true;
            for (let epoch = 1; epoch < newest; epoch += 1) await done('retire', `${epoch}`, '--force');
            for (const replica of replicas) {
                await give(replica);
                const before = answers;
                await eventually('the clients continue', 10_000, () => answers > before + 100);
            }
        };
        await Promise.all([load(), change().finally(() => (over = pastedOver = true))]);
        for (const authid of pasted) assert.equal((await refresh(url, authid)).status, 401);
    },
);
