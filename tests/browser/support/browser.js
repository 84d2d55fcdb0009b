// Headless Chromium, and the two web interfaces of Duplicati as far as an OAuth server meets them.

import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

// All names below .test are this machine's, and no certificate is looked at. `options` go to Playwright.
export function launchBrowser(options = {}) {
    return chromium.launch({
        ...options,
        executablePath: process.env.TESTS_CHROMIUM ?? '/usr/bin/chromium',
        // Nothing leaves this machine, and root may run it.
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--host-resolver-rules=MAP *.test 127.0.0.1',
            '--ignore-certificate-errors',
        ],
    });
}

// Serves `html` on http://localhost, as Duplicati's own interface is.
export async function startOpener(html) {
    const server = createServer((request, response) => {
        const found = request.url === '/';
        response.writeHead(found ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' }).end(found ? html : '');
    });
    await new Promise((resolve) => server.listen(0, 'localhost', resolve));
    return {
        url: `http://localhost:${server.address().port}/`,
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            server.closeAllConnections();
            await closed;
        },
    };
}

// Opens `html` as Duplicati's interface and lets the person act until the popup has closed. Gives the opener's page and
// what the browser had to complain about on any page.
export async function actOut(browser, html, act) {
    const opener = await startOpener(html);
    const context = await browser.newContext();
    const complaints = [];
    context.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    context.on('weberror', (error) => complaints.push(String(error.error())));
    context.on('requestfailed', (request) => {
        const { errorText } = request.failure();
        if (errorText !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${errorText}`); // aborted: the popup closed
    });
    await context.addInitScript(() => {
        addEventListener('securitypolicyviolation', (event) => {
            console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
        });
    });
    try {
        const page = await context.newPage();
        await page.goto(opener.url);
        const opening = page.waitForEvent('popup');
        await page.click('#open');
        const popup = await opening;
        const closed = popup.waitForEvent('close');
        await act(popup);
        const ended = popup.waitForURL((url) => url.pathname === '/logged-in' && url.search === '');
        // The new interface has closed it by then.
        await ended.then(() => page.evaluate(() => window.letClose?.())).catch(() => {});
        await closed;
        return { field: await page.inputValue('#field'), messages: await page.evaluate(() => window.messages), complaints };
    } finally {
        await context.close();
        await opener.close();
    }
}

// What a person does in the popup, from the start page to the provider's question.
export async function logIn(popup) {
    await popup.click('a[href^="/login?"]');
    await popup.click('button:text-is("sign-in")');
    await popup.click('button:text-is("allow")');
}

// The new interface: opens the popup at `target` and takes the first message that begins with `authid:`. It looks at no
// origin, and what is not a string would make it throw.
export function newInterface(target) {
    return opener(`
        const messages = window.messages = [];
        let popup;
        addEventListener('message', (event) => {
            messages.push(event.data);
            if (event.data.startsWith('authid:')) {
                document.getElementById('field').value = event.data.slice('authid:'.length);
                popup.close();
            }
        });
        document.getElementById('open').onclick = () => {
            popup = open(${JSON.stringify(target)}, '_blank', 'width=450,height=600');
        };`);
}

// The classic interface: opens the popup with a token of two random tails and asks /fetch for the AuthID by JSONP. Each
// question follows the answer to the one before; the real one waits 3 s in between. So the AuthID may be here while the
// popup is still on its way to its last page, and Chromium forgets for ever to close a window that is told so just then:
// the popup is closed when `letClose()` was called.
export function classicInterface(server, service = 'localdrive') {
    return opener(`
        const tail = () => Math.random().toString(36).substr(2);
        let popup;
        let count = 0;
        function poll(token) {
            const name = '_' + count++;
            const script = document.createElement('script');
            const next = () => { script.remove(); setTimeout(poll, 200, token); };
            angular.callbacks[name] = (answer) => {
                if (!answer.authid) return next();
                document.getElementById('field').value = answer.authid;
                mayClose.then(() => popup.close());
            };
            script.onerror = next;
            script.src = ${JSON.stringify(server)} + '/fetch?callback=angular.callbacks.' + name + '&token=' + token;
            document.head.append(script);
        }
        window.angular = { callbacks: {} };
        const mayClose = new Promise((resolve) => (window.letClose = resolve));
        document.getElementById('open').onclick = () => {
            const token = tail() + tail();
            popup = open(${JSON.stringify(server)} + '/?type=${service}&token=' + token, '_blank', 'width=450,height=600');
            poll(token);
        };`);
}

function opener(script) {
    return `<!doctype html><meta charset="utf-8"><title>Duplicati</title><link rel="icon" href="data:,">
        <button id="open">AuthID</button><input id="field"><script>${script}</script>`;
}
