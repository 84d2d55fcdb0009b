// Other people's websites, and TLS in front of ours: the browser's rules about sites, cookies and openers differ from
// name to name, and many hold on https or localhost only.

import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { connect } from 'node:net';
import { createServer as createTls } from 'node:tls';

// A website at `https://<host>`, or at http for localhost. `pages` may be changed at any time: for each path HTML, or a
// function of request and response. `requests` holds all that came, with method, path, headers and body.
export async function startSite(host, pages = {}) {
    const requests = [];
    const answer = async (request, response) => {
        let body = '';
        for await (const chunk of request) body += chunk;
        const { method, url, headers } = request;
        const path = url.split('?')[0];
        if (path !== '/favicon.ico') requests.push({ method, url, path, headers, body });
        const page = pages[path];
        if (typeof page === 'function') {
            page(request, response);
        } else {
            response.writeHead(page ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
            response.end(page && `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">${page}`);
        }
    };
    const plain = host === 'localhost';
    const server = plain ? createHttp(answer) : createHttps(CERTIFICATE, answer);
    await new Promise((resolve) => server.listen(0, plain ? host : '127.0.0.1', resolve));
    return {
        origin: `${plain ? 'http' : 'https'}://${host}:${server.address().port}`,
        pages,
        requests,
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            server.closeAllConnections();
            await closed;
        },
    };
}

// TLS at `https://<host>` for what listens in clear at `port`: bytes go through as they are.
export async function startFront(host, port) {
    const open = new Set();
    const server = createTls(CERTIFICATE, (outer) => {
        const inner = connect(port, '127.0.0.1');
        for (const [from, to] of [[outer, inner], [inner, outer]]) {
            open.add(from);
            from.on('error', () => to.destroy()).on('close', () => to.destroy(open.delete(from)));
            from.pipe(to);
        }
    });
    server.on('tlsClientError', () => {}); // the browser gave up a connection it had opened ahead
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
        origin: `https://${host}:${server.address().port}`,
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            for (const socket of open) socket.destroy();
            await closed;
        },
    };
}

// A certificate for nobody, signed by itself (RFC 5280 section 4.1, version 1), so that no key lies in the repository.
const CERTIFICATE = (() => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const algorithm = der(0x30, der(0x06, Buffer.from('2a8648ce3d040302', 'hex'))); // ecdsa-with-SHA256
    const name = der(0x30, der(0x31, der(0x30, der(0x06, Buffer.from('550403', 'hex')), der(0x0c, Buffer.from('tests')))));
    const validity = der(0x30, ...['200101000000Z', '491231235959Z'].map((time) => der(0x17, Buffer.from(time))));
    const key = publicKey.export({ type: 'spki', format: 'der' });
    const signed = der(0x30, der(0x02, Buffer.from([1])), algorithm, name, validity, name, key);
    const signature = der(0x03, Buffer.from([0]), sign('sha256', signed, privateKey));
    const pem = der(0x30, signed, algorithm, signature).toString('base64');
    const cert = `-----BEGIN CERTIFICATE-----\n${pem.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
    return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
})();

function der(tag, ...parts) {
    const body = Buffer.concat(parts);
    const { length } = body;
    const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
    return Buffer.concat([Buffer.from([tag, ...size]), body]);
}
