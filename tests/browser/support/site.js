// Other people's websites, and TLS in front of ours: the browser's rules about sites, cookies and openers differ from
// name to name, and many hold on https or localhost only.

import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer as createHttp, request } from 'node:http';
import { createServer as createHttps } from 'node:https';

// Where all browsers are, as far as authseal can tell.
export const EVERYBODY = '203.0.113.7';

// A website at `https://<host>`, or at http for localhost and where it is to be `plain`. `pages` may be changed at any time: for each path HTML, or a
// function of request and response. `requests` holds all that came, with method, path, headers and body.
export async function startSite(host, pages = {}, plain = host === 'localhost') {
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
    const server = plain ? createHttp(answer) : createHttps(CERTIFICATE, answer);
    await new Promise((resolve) => server.listen(0, host === 'localhost' ? host : '127.0.0.1', resolve));
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

// TLS at `https://<host>` for what listens in clear at `port`, as a proxy that says for whom it asks: for everybody at
// one address, unless a request names another in `x-test-client`.
export async function startFront(host, port) {
    let caught;
    const server = createHttps(CERTIFICATE, (outer, response) => {
        const { method, url: path, rawHeaders } = outer;
        if (caught && path.startsWith(caught.path)) {
            caught.resolve(origin + path);
            caught = undefined;
            response.writeHead(204).end();
            return;
        }
        const client = outer.headers['x-test-client'] ?? EVERYBODY;
        const headers = [...rawHeaders, 'x-forwarded-for', client, 'x-forwarded-proto', 'https'];
        const inner = request({ host: '127.0.0.1', port, method, path, headers, setHost: false }, (answer) => {
            response.writeHead(answer.statusCode, answer.rawHeaders);
            answer.pipe(response);
        });
        inner.on('error', () => response.destroy());
        outer.pipe(inner);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `https://${host}:${server.address().port}`;
    return {
        origin,
        // Keeps the next request whose path begins so from authseal: its address. The browser stays where it is.
        catch: (path) => new Promise((resolve) => (caught = { path, resolve })),
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            server.closeAllConnections();
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
