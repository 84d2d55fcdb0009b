// A person without a browser: cookies, redirects, links and forms, and nothing that needs a script. Two persons share no
// cookies, as two browsers do.

const MOST_REDIRECTS = 10;

export class Person {
    #cookies = new Map();
    #headers;

    // `headers` go with every request.
    constructor(headers = {}) {
        this.#headers = headers;
    }

    // The value of a cookie.
    cookie(name) {
        return [...this.#cookies.values()].find((cookie) => cookie.name === name)?.value;
    }

    // Opens `url` as a click or a typed address would, following redirects; stops before a redirect whose target fits
    // `stopAt` and gives that target as `stopped`.
    async open(url, { referer, method = 'GET', form, stopAt } = {}) {
        for (let hops = 0; hops < MOST_REDIRECTS; hops += 1) {
            const headers = { accept: 'text/html', connection: 'close', ...this.#headers };
            const cookie = this.#cookieHeader(url);
            if (cookie) headers.cookie = cookie;
            if (referer) headers.referer = referer;
            const response = await fetch(url, {
                method,
                headers,
                redirect: 'manual',
                body: form && new URLSearchParams(form),
            });
            this.#keepCookies(url, response.headers.getSetCookie());
            const text = await response.text();
            const location = response.headers.get('location');
            if (response.status < 300 || response.status >= 400 || !location) {
                return new Page(url, response, text);
            }
            url = new URL(location, url).href;
            if (stopAt?.(url)) {
                return { stopped: url };
            }
            if (response.status !== 307 && response.status !== 308) {
                method = 'GET';
                form = undefined;
            }
        }
        throw new Error(`more than ${MOST_REDIRECTS} redirects, the last to ${url}`);
    }

    // Presses a button of `page`: submits the form whose action ends with `name`.
    press(page, name, options) {
        const action = page.attributes('form', 'action').find((target) => target.endsWith(name));
        if (!action) {
            throw new Error(`no button ${name} on ${page}`);
        }
        return this.open(new URL(action, page.url).href, { ...options, method: 'POST', form: {} });
    }

    // Starts a login at authseal and goes as far as the provider's first page.
    async startLogin(server, { service = 'localdrive', opener = 'http://localhost:8200/' } = {}) {
        const start = await this.open(`${server.url}/?type=${service}`, { referer: opener });
        const link = start.attributes('a', 'href').find((target) => target.startsWith('/login?'));
        if (!link) {
            throw new Error(`no login link on ${start}`);
        }
        return this.open(new URL(link, start.url).href, { referer: start.url });
    }

    // Signs in at the provider and answers its question with `decision`: where that leads.
    async decide(page, decision, options) {
        const question = page.title === 'login' ? await this.press(page, 'sign-in') : page;
        return this.press(question, decision, options);
    }

    // A whole login: the page that shows the AuthID.
    async logIn(server, options) {
        return this.decide(await this.startLogin(server, options), 'allow');
    }

    #cookieHeader(url) {
        const { hostname, pathname } = new URL(url);
        return [...this.#cookies.values()]
            .filter((cookie) => cookie.host === hostname && fits(pathname, cookie.path))
            .map(({ name, value }) => `${name}=${value}`)
            .join('; ');
    }

    // Cookies belong to a host, whatever the port (RFC 6265, section 8.5).
    #keepCookies(url, lines) {
        const { hostname: host, pathname } = new URL(url);
        for (const line of lines) {
            const [pair, ...rest] = line.split(';').map((part) => part.trim());
            const name = pair.slice(0, pair.indexOf('='));
            const value = pair.slice(pair.indexOf('=') + 1);
            const attributes = Object.fromEntries(
                rest.map((part) => part.split('=')).map(([key, text]) => [key.toLowerCase(), text]),
            );
            const path = attributes.path ?? (pathname.slice(0, pathname.lastIndexOf('/')) || '/');
            const key = `${host} ${path} ${name}`;
            const maxAge = attributes['max-age'];
            const gone = maxAge === undefined ? Date.parse(attributes.expires) <= Date.now() : Number(maxAge) <= 0;
            if (gone) {
                this.#cookies.delete(key);
            } else {
                this.#cookies.set(key, { host, path, name, value });
            }
        }
    }
}

// One HTML page as text. Regular expressions suffice for pages that this project writes itself.
export class Page {
    constructor(url, response, text) {
        Object.assign(this, { url, status: response.status, headers: response.headers, text });
    }

    get title() {
        return /<title>([^<]*)/.exec(this.text)?.[1];
    }

    // The AuthID in the element `#authid`, or undefined.
    get authid() {
        const [, text] = /id="authid"[^>]*>([^<]*)</.exec(this.text) ?? [];
        return text && unescape(text);
    }

    // The value of `attribute` in each element `tag`.
    attributes(tag, attribute) {
        const pattern = new RegExp(`<${tag}\\b[^>]*\\s${attribute}="([^"]*)"`, 'g');
        return [...this.text.matchAll(pattern)].map(([, value]) => unescape(value));
    }

    toString() {
        return `${this.url} (${this.status}):\n${this.text}`;
    }
}

function fits(path, cookiePath) {
    return path === cookiePath || path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`);
}

const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"' };

function unescape(text) {
    return text
        .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
        .replace(/&#([0-9]+);/g, (_, digits) => String.fromCodePoint(Number(digits)))
        .replace(/&(amp|lt|gt|quot);/g, (entity) => ENTITIES[entity]);
}
