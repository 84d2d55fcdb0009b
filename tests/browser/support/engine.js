// Chromium, Firefox and WebKitGTK behind one small set of verbs, so that one test runs in all three: Chromium and Firefox
// through WebDriver BiDi, WebKit through its own driver. Clicks are the browser's, so pages see them as a person's.
//
// `onEveryEngine` makes the same tests in each of them.
//
// Every name below .test is this machine's, and no certificate is looked at. WebKit needs a screen and a window manager
// (without one no popup has the focus), so it brings an X server of its own.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import puppeteer from 'puppeteer-core';
import { Builder, By, Capabilities } from 'selenium-webdriver';
import { freePort } from './server.js';
import { eventually } from './wait.js';

export const ENGINES = ['chromium', 'firefox', 'webkit'];
const PATIENCE = 15_000;
// A browser's last processes write to its folder.
const REMOVE = { recursive: true, force: true, maxRetries: 10 };

// Makes tests in each engine, which `define` gets the name of, and a function that gives the engine while they run.
export function onEveryEngine(define, options) {
    for (const name of ENGINES) {
        describe(name, () => {
            let engine;
            before(async () => (engine = await launchEngine(name, options)));
            after(() => engine?.close());
            define(name, () => engine);
        });
    }
}

// Starts a browser: `newContext()` gives the profile of one person, with cookies of its own. It may be one that keeps no
// cookies, or one that sends no referrers, which WebKit cannot be.
export function launchEngine(name, { cookies = true, referrers = true } = {}) {
    return { chromium: launchChromium, firefox: launchFirefox, webkit: launchWebKit }[name]({ cookies, referrers });
}

async function launchChromium({ cookies, referrers }) {
    const home = await mkdtemp(join(tmpdir(), 'authseal-chromium-'));
    const settings = { enable_referrers: referrers, profile: { default_content_setting_values: { cookies: cookies ? 1 : 2 } } };
    await mkdir(join(home, 'Default'));
    await writeFile(join(home, 'Default', 'Preferences'), JSON.stringify(settings));
    const browser = await launchByBidi({
        browser: 'chrome',
        executablePath: process.env.TESTS_CHROMIUM ?? '/usr/bin/chromium',
        userDataDir: home,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--host-resolver-rules=MAP *.test 127.0.0.1'],
    });
    return { ...browser, close: async () => (await browser.close(), rm(home, REMOVE)) };
}

async function launchFirefox({ cookies, referrers }) {
    const names = await startNames();
    const { port } = names;
    const browser = await launchByBidi({
        browser: 'firefox',
        executablePath: process.env.TESTS_FIREFOX ?? '/usr/bin/firefox-esr',
        extraPrefsFirefox: {
            'network.cookie.cookieBehavior': cookies ? 5 : 2,
            'network.http.sendRefererHeader': referrers ? 2 : 0,
            'network.trr.mode': 5,
            'network.proxy.type': 1,
            'network.proxy.socks': '127.0.0.1',
            'network.proxy.socks_port': port,
            'network.proxy.socks_remote_dns': true,
        },
    });
    return { ...browser, close: async () => (await browser.close(), names.close()) };
}

async function launchByBidi(options) {
    const browser = await puppeteer.launch({ ...options, protocol: 'webDriverBiDi', headless: true, acceptInsecureCerts: true });
    return {
        async newContext() {
            const context = await browser.createBrowserContext();
            const pages = async () => (await context.pages()).map((page) => new BidiPage(page));
            return new Context(pages, async () => new BidiPage(await context.newPage()), () => context.close());
        },
        close: () => browser.close(),
    };
}

// One browser for each person: the driver has no profiles.
async function launchWebKit({ cookies }) {
    const screen = await startScreen();
    const names = await startNames();
    const ends = [() => names.close(), () => screen.close()];
    return {
        async newContext() {
            const home = await mkdtemp(join(tmpdir(), 'authseal-webkit-'));
            const port = await freePort();
            const env = { ...process.env, HOME: home, DISPLAY: screen.display, MESA_SHADER_CACHE_DISABLE: 'true' };
            env.no_proxy = 'localhost,127.0.0.1';
            for (const name of ['http', 'https']) env[`${name}_proxy`] = `socks5://127.0.0.1:${names.port}`;
            for (const name of ['CACHE', 'CONFIG', 'DATA', 'STATE']) env[`XDG_${name}_HOME`] = home;
            const service = spawn('WebKitWebDriver', ['-p', port], { env, stdio: 'ignore' });
            const options = { binary: miniBrowser(), args: ['--automation', `--cookies-policy=${cookies ? 'no-third-party' : 'never'}`] };
            const wanted = new Capabilities({ browserName: 'MiniBrowser', acceptInsecureCerts: true });
            wanted.set('webkitgtk:browserOptions', options);
            const driver = await eventually('WebKit has started', PATIENCE, () =>
                new Builder().usingServer(`http://127.0.0.1:${port}`).withCapabilities(wanted).build().catch(() => undefined),
            );
            await driver.manage().setTimeouts({ script: PATIENCE, pageLoad: PATIENCE });
            const turns = new Turns();
            const page = (handle) => new WebKitPage(driver, handle, turns);
            const pages = () => turns.take(async () => (await driver.getAllWindowHandles()).map(page));
            const newPage = () =>
                turns.take(async () => {
                    // The first window stays open: the session ends with it.
                    await driver.switchTo().window((await driver.getAllWindowHandles())[0]);
                    await driver.switchTo().newWindow('window');
                    return page(await driver.getWindowHandle());
                });
            return new Context(pages, newPage, async () => {
                await driver.quit().catch(() => {});
                await ended(service);
                await rm(home, REMOVE);
            });
        },
        async close() {
            for (const end of ends) await end();
        },
    };
}

class Context {
    constructor(pages, newPage, close) {
        Object.assign(this, { pages, newPage, close });
    }

    // A new window at `url`.
    async visit(url) {
        const page = await this.newPage();
        await page.goto(url);
        return page;
    }

    // The window that opens when `act` is done.
    async popup(act) {
        const before = (await this.pages()).map(({ id }) => id);
        await act();
        return eventually('a window has opened', PATIENCE, async () =>
            (await this.pages()).find(({ id }) => !before.includes(id)),
        );
    }

    async has(page) {
        return (await this.pages()).some(({ id }) => id === page.id);
    }

}

// What both kinds of pages can do. `evaluate` runs a function with one argument in the page and gives what it returns.
class Page {
    // Waits until an element is there and shown.
    waitFor(selector) {
        return this.until(`${selector} is shown`, (wanted) => document.querySelector(wanted)?.checkVisibility(), selector);
    }

    // `evaluate`, or nothing: a page that is just being left may fail, or not answer any more.
    ask(question, argument) {
        const asked = this.evaluate(question, argument).catch(() => undefined);
        return Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 2000))]);
    }

    // Asks a function of the page until it gives something.
    until(what, question, argument) {
        return eventually(what, PATIENCE, () => this.ask(question, argument));
    }

    // Waits until the address is the wanted one, or one that `wanted`, a function, takes.
    at(wanted) {
        const fits = typeof wanted === 'string' ? ({ href }) => href === wanted : wanted;
        return eventually(`the address is ${wanted}`, PATIENCE, async () =>
            fits(new URL(await this.until('the page has an address', () => location.href))),
        );
    }

    async has(selector) {
        return this.evaluate((wanted) => document.querySelector(wanted) !== null, selector);
    }

    attribute(selector, name) {
        return this.evaluate(([wanted, what]) => document.querySelector(wanted)?.getAttribute(what) ?? null, [selector, name]);
    }

    // Waits until the page of that heading is there.
    headed(heading) {
        return this.until(`the heading is ${heading}`, (text) => document.querySelector('main h1')?.innerText === text, heading);
    }

    text(selector) {
        return this.until(`${selector} has text`, (wanted) => document.querySelector(wanted)?.innerText, selector);
    }

    // The value of a field, which may be empty.
    value(selector) {
        return this.evaluate((wanted) => document.querySelector(wanted).value, selector);
    }

    html() {
        return this.evaluate(() => document.documentElement.outerHTML);
    }

    address() {
        return this.evaluate(() => location.href);
    }

    // Goes back in the history.
    back() {
        return this.evaluate(() => void setTimeout(() => history.back()));
    }

    // Goes on to `url` as the page's own script does, so that the page is known as the one that led there.
    leadTo(url) {
        return this.evaluate((target) => void setTimeout(() => (location.href = target)), url);
    }
}

class BidiPage extends Page {
    #page;

    constructor(page) {
        super();
        this.#page = page;
        this.id = page.mainFrame()._id;
    }

    goto(url) {
        return this.#page.goto(url, { waitUntil: 'load', timeout: PATIENCE });
    }

    evaluate(ask, argument) {
        return this.#page.evaluate(ask, argument);
    }

    // In a tab behind another one nothing comes into view, and the click would wait for that.
    async click(selector) {
        await this.waitFor(selector);
        if (await this.evaluate(() => document.hidden)) await this.front();
        await this.#page.click(selector);
    }

    async clickInFrame(selector) {
        const frame = await eventually('the frame is there', PATIENCE, () =>
            this.#page.frames().find((one) => one !== this.#page.mainFrame()),
        );
        await (await frame.waitForSelector(selector)).click();
    }

    async type(selector, text) {
        await this.waitFor(selector);
        await this.#page.type(selector, text);
    }

    move(x, y) {
        return this.#page.mouse.move(x, y);
    }

    resize(width, height) {
        return this.#page.setViewport({ width, height });
    }

    front() {
        return this.#page.bringToFront();
    }

    reload() {
        return this.#page.reload({ waitUntil: 'load', timeout: PATIENCE });
    }

    close() {
        return this.#page.close();
    }
}

class WebKitPage extends Page {
    #driver;
    #turns;

    constructor(driver, handle, turns) {
        super();
        this.id = handle;
        this.#driver = driver;
        this.#turns = turns;
    }

    goto(url) {
        return this.#do((driver) => driver.get(url));
    }

    evaluate(ask, argument) {
        const script = `const done = arguments[1]; Promise.resolve((${ask})(arguments[0])).then(done);`;
        return this.#do((driver) => driver.executeAsyncScript(script, argument ?? null));
    }

    async click(selector) {
        await this.waitFor(selector);
        await this.#do((driver) => driver.findElement(By.css(selector)).click());
    }

    clickInFrame(selector) {
        return this.#do(async (driver) => {
            await driver.switchTo().frame(driver.findElement(By.css('iframe')));
            await driver.findElement(By.css(selector)).click();
        });
    }

    async type(selector, text) {
        await this.waitFor(selector);
        await this.#do((driver) => driver.findElement(By.css(selector)).sendKeys(text));
    }

    move(x, y) {
        return this.#do((driver) => driver.actions().move({ x, y, duration: 0 }).perform());
    }

    // Windows are sized with their frames.
    async resize(width, height) {
        await eventually(`the window has ${width} by ${height} pixels`, PATIENCE, async () => {
            const [inner, frame] = await this.evaluate(() => [
                [innerWidth, innerHeight],
                [outerWidth - innerWidth, outerHeight - innerHeight],
            ]);
            if (inner[0] === width && inner[1] === height) return true;
            const rect = { width: width + frame[0], height: height + frame[1] };
            await this.#do((driver) => driver.manage().window().setRect(rect));
        });
    }

    // A window that was opened is in front already.
    async front() {}

    reload() {
        return this.#do((driver) => driver.navigate().refresh());
    }

    back() {
        return this.#do((driver) => driver.navigate().back());
    }

    close() {
        return this.#do((driver) => driver.close());
    }

    #do(act) {
        return this.#turns.take(async () => {
            await this.#driver.switchTo().window(this.id);
            return act(this.#driver);
        });
    }
}

// The driver looks at one window at a time.
class Turns {
    #last = Promise.resolve();

    take(act) {
        const turn = this.#last.then(act);
        this.#last = turn.catch(() => {});
        return turn;
    }
}

// A proxy (SOCKS 5, RFC 1928) for which every name is this machine's.
async function startNames() {
    const open = new Set();
    const server = createServer((outer) => {
        keep(outer);
        outer.once('data', () => {
            outer.write(Buffer.from([5, 0])); // nobody has to log in
            outer.once('data', (request) => {
                // Version, command, zero, kind of address, the name with its length, the port.
                const inner = connect(request.readUInt16BE(5 + request[4]), '127.0.0.1');
                keep(inner);
                inner.once('connect', () => {
                    outer.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
                    inner.pipe(outer).pipe(inner);
                });
                inner.once('close', () => outer.destroy());
                outer.once('close', () => inner.destroy());
            });
        });
    });
    const keep = (socket) => {
        open.add(socket);
        socket.on('error', () => {}).once('close', () => open.delete(socket));
    };
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
        port: server.address().port,
        async close() {
            const closed = new Promise((resolve) => server.close(resolve));
            for (const socket of open) socket.destroy();
            await closed;
        },
    };
}

async function startScreen() {
    const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'], {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const number = await new Promise((resolve, reject) => {
        server.stdio[3].once('data', (text) => resolve(String(text).trim()));
        server.once('exit', () => reject(new Error('Xvfb has ended')));
    });
    const display = `:${number}`;
    const manager = spawn('openbox', [], { env: { ...process.env, DISPLAY: display }, stdio: 'ignore' });
    return { display, close: async () => (await ended(manager), await ended(server)) };
}

async function ended(child) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await gone;
}

// Debian puts it beside the library, below a folder that is called after the machine's kind.
function miniBrowser() {
    const libraries = readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}/webkit2gtk-4.1/MiniBrowser`);
    return libraries.find((path) => existsSync(path));
}
