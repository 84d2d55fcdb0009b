// The little window in which a person logs in, and what happens between it and the page that opened it.

// A page that opens `target` in a popup when its button is pressed, and keeps every message that it is sent.
export function listener(target) {
    return `<button id="open">open</button><script>
        const messages = [];
        addEventListener('message', (event) => messages.push(event.data));
        let popup;
        document.getElementById('open').onclick = () => {
            popup = open(${JSON.stringify(target)}, '_blank', 'width=450,height=600');
        };
    </script>`;
}

// Presses the button of such a page: the popup.
export async function openPopup(page) {
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.click('#open')]);
    return popup;
}

// What a person does from the start page to the page with the AuthID, which is given back.
export async function logIn(popup) {
    await popup.click('a[href^="/login?"]');
    return consent(popup);
}

// The same from the provider's first page on.
export async function consent(popup) {
    await popup.click('button:text-is("sign-in")');
    await popup.click('button:text-is("allow")');
    await popup.waitForURL((url) => url.pathname === '/logged-in' && url.search === ''); // its script has run
    return popup.inputValue('#authid');
}

// For whoever listens. A page that named no receiver for the AuthID would send it just so.
export const TO_ANYBODY = 'to whom it may concern';

// Every message that `page` got. Messages arrive in the order in which they were sent, so once this last one of the popup
// is there, none is still to come; and its arrival proves that the way from the popup to `page` was open.
export async function messagesOf(page, popup) {
    await popup.evaluate((text) => opener.postMessage(text, '*'), TO_ANYBODY);
    await page.waitForFunction((text) => messages.includes(text), TO_ANYBODY);
    return page.evaluate(() => messages);
}

// Asks /fetch for an AuthID as the page `page` can: by loading a script. `blocked` if the browser does not run it.
export function askByScript(page, url) {
    return page.evaluate(
        (source) =>
            new Promise((resolve) => {
                window.answered = resolve;
                const script = document.createElement('script');
                script.onerror = () => resolve('blocked');
                script.src = source;
                document.head.append(script);
            }),
        url,
    );
}
