// The pages that show an AuthID: copy it, hand it to the page that opened this window, and take it off the screen again.
// All texts are in the page. Without this script the AuthID is there all the same, to be copied by hand.
'use strict';

const HIDE_AFTER_MS = 10 * 60 * 1000;
const POLL_EVERY_MS = 3000;
const POLLS = 33; // the mailbox keeps an AuthID for 90 s
const LONG_AFTER_POLLS = 5; // Duplicati asks every 3 s
const ARM_AFTER_MS = 1000;
// In a smaller window the user cannot have seen what the button is about.
const LEAST_WIDTH = 320;
const LEAST_HEIGHT = 400;
const WHOLE = 0.99; // fractions of pixels get lost

const ready = document.getElementById('ready');
const field = document.getElementById('authid');
const button = document.getElementById('copy');
const sending = document.getElementById('send'); // to an opener that is not trusted
const give = document.getElementById('give'); // to somebody else who asks

let gone = false;

// Shows one of the status sentences; the page need not have it.
function say(state) {
  const wanted = ready.querySelector(`[data-state="${state}"]`);
  if (!wanted) return;
  wanted.parentElement.classList.remove('loose');
  for (const sentence of ready.querySelectorAll('[data-state]')) {
    sentence.classList.toggle('on', sentence === wanted);
  }
}

// The code and the state in the address are spent, but nobody need see them. The browser's history may keep them.
function cleanAddress() {
  history.replaceState(null, '', ready.dataset.address ?? '/logged-in');
}

// The exact origin makes the browser drop the message if the opener has moved on to another site.
function sendToOpener(origin) {
  if (!window.opener || window.opener.closed) return say('not-sent');
  try {
    window.opener.postMessage('authid:' + field.value, origin);
    say('sent');
  } catch {
    say('not-sent');
  }
}

let watch = 0;

// Asks whether the mailbox has been emptied, or whether somebody asked who does not get it without a click. A failed
// request is just another "not yet". A later watch takes the place of an earlier one.
async function watchMailbox(token) {
  const mine = (watch += 1);
  for (let poll = 0; poll < POLLS; poll += 1) {
    await new Promise((done) => setTimeout(done, POLL_EVERY_MS));
    if (gone || mine !== watch) return;
    try {
      const answer = await fetch('/token-state?token=' + encodeURIComponent(token), { cache: 'no-store' });
      const { success, asked } = answer.ok ? await answer.json() : {};
      if (success === true) {
        if (give) give.hidden = true;
        return say('picked-up');
      }
      if (poll === LONG_AFTER_POLLS) say('still-waiting');
      if (asked === true && give && !given) give.hidden = false;
    } catch {
      // not yet
    }
  }
  say('not-picked-up');
}

// Lets `act` run on a click that the user can only have meant: the page was visible, in front and in its place for a
// while, large enough and scrolled so that all of `part` was seen, and the user moved the pointer or pressed a key there.
// A click that was begun on somebody else's page, or that a script made, does nothing. The opener can move, resize and
// scroll this window. Never `disabled`: that would take the button away from the keyboard.
function arm(part, act) {
  const pressed = part.querySelector('button');
  let timer;
  let settled;
  let noticed;
  let place;
  let whole = false;
  const show = () => pressed.setAttribute('aria-disabled', String(!(settled && noticed)));
  const where = () => [screenX, screenY, innerWidth, innerHeight, scrollX, scrollY].join();
  const fits = () => innerWidth >= LEAST_WIDTH && innerHeight >= LEAST_HEIGHT;
  const begin = () => {
    clearTimeout(timer);
    settled = noticed = false;
    show();
    if (document.visibilityState !== 'visible' || !document.hasFocus() || !whole || !fits()) return;
    timer = setTimeout(() => {
      place = where();
      settled = true;
      show();
    }, ARM_AFTER_MS);
  };
  const notice = (event) => {
    // A finger does not move before it taps.
    const mouseDown = event.type === 'pointerdown' && event.pointerType === 'mouse';
    if (!event.isTrusted || event.repeat || mouseDown) return;
    noticed = true;
    show();
  };
  const seen = (entries) => {
    whole = entries.at(-1).intersectionRatio >= WHOLE;
    begin();
  };
  new IntersectionObserver(seen, { threshold: WHOLE }).observe(part);
  for (const type of ['focus', 'blur', 'resize', 'scroll']) window.addEventListener(type, begin);
  document.addEventListener('visibilitychange', begin);
  for (const type of ['pointermove', 'pointerdown', 'keydown']) window.addEventListener(type, notice, true);
  new MutationObserver(begin).observe(part, { attributeFilter: ['hidden'] });
  pressed.addEventListener('click', (event) => {
    if (!event.isTrusted || !settled || !noticed || part.hidden) return;
    if (place !== where()) return begin();
    part.hidden = true;
    button.focus();
    act();
  });
  begin();
}

// Has the server let go of the AuthID; gives the origin that the user was asked about. The fetch token in the address
// lets a balancer choose the server that Duplicati asks with it.
async function deliver(ticket, to, fetchToken) {
  const body = new URLSearchParams({ grant: ticket, to });
  const path = fetchToken ? '/deliver?token=' + encodeURIComponent(fetchToken) : '/deliver';
  const answer = await fetch(path, { method: 'POST', body });
  if (!answer.ok) throw new Error('not delivered');
  return (await answer.json()).deliver_to;
}

let given = false;

async function send(ticket, fetchToken) {
  try {
    const origin = await deliver(ticket, 'opener', fetchToken);
    if (gone) return;
    if (window.opener) sendToOpener(origin);
    else say('sent'); // by the mailbox alone
    if (fetchToken) watchMailbox(fetchToken);
  } catch {
    say('not-sent');
  }
}

// The server that ended the login may be another one than that which Duplicati asks.
async function relay(ticket, fetchToken) {
  try {
    await deliver(ticket, 'replica', fetchToken);
  } catch {
    // Then it waits where it is, and here.
  }
}

async function giveAway(ticket, fetchToken) {
  given = true;
  try {
    await deliver(ticket, 'asker', fetchToken);
    watchMailbox(fetchToken);
  } catch {
    say('not-picked-up');
  }
}

// The clipboard API wants a secure context, which plain http on a LAN is not: hence the old way as well.
function copies(button) {
  const text = document.getElementById(button.dataset.copies);
  const said = document.getElementById('copy-said');
  const label = button.textContent;
  let labelTimer;
  button.addEventListener('click', async () => {
    let copied;
    try {
      await navigator.clipboard.writeText(text.value);
      copied = true;
    } catch {
      text.focus();
      text.select();
      copied = document.execCommand('copy');
    }
    button.textContent = said.textContent = copied ? button.dataset.copied : button.dataset.failed;
    button.classList.toggle('done', copied);
    clearTimeout(labelTimer);
    labelTimer = setTimeout(() => {
      button.textContent = label;
      said.textContent = '';
      button.classList.remove('done');
    }, 4000);
  });
  // WebKit sets the caret after it has told of the focus.
  text.addEventListener('focus', () => setTimeout(() => text.select()));
  text.addEventListener('click', () => text.select());
}

// A link to what is in the page alone, which a browser saves under the name.
function save({ currentTarget }) {
  const link = document.createElement('a');
  const note = document.getElementById('note').textContent;
  link.href = URL.createObjectURL(new Blob([note], { type: 'text/plain' }));
  link.download = currentTarget.dataset.name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Empties the field and the page's own text of it, so that neither "back" nor a restored tab brings the AuthID back.
function hide() {
  if (gone) return;
  gone = true;
  const note = document.getElementById('hidden-now');
  const hadFocus = ready.contains(document.activeElement);
  field.value = '';
  field.defaultValue = '';
  ready.hidden = true;
  note.hidden = false;
  if (hadFocus) note.focus();
}

// What was typed, pasted or handed back in a form goes when the page is left, so that "back" does not show it.
const secrets = document.querySelectorAll('[name="authid"], [name="token"], [name="password"]');
window.addEventListener('pagehide', () => {
  for (const secret of secrets) secret.value = secret.defaultValue = '';
});

// The page with the AuthID cannot be loaded twice, and the one that says so knows of no login any more. This tab does: the
// way on leads to the same service, for the same Duplicati.
const start = document.getElementById('start');
try {
  if (ready?.dataset.again) sessionStorage.setItem('again', ready.dataset.again);
  const again = start && sessionStorage.getItem('again');
  if (again?.startsWith('/?')) start.href = again;
} catch {
  // a browser that keeps nothing
}

if (ready) {
  const { deliverTo, fetchToken, waits, relayed, ticket } = ready.dataset;
  ready.removeAttribute('data-deliver-to');
  ready.removeAttribute('data-fetch-token');
  ready.removeAttribute('data-ticket');
  cleanAddress();
  if (deliverTo) sendToOpener(deliverTo);
  if (relayed) relay(ticket, fetchToken);
  if (waits) watchMailbox(fetchToken);
  if (sending) {
    // Without an opener that listens and without a mailbox to fetch from, there is nobody to send it to.
    if (window.opener || fetchToken) arm(sending, () => send(ticket, fetchToken));
    else sending.hidden = true;
  }
  if (give) arm(give, () => giveAway(ticket, fetchToken));
  for (const button of document.querySelectorAll('[data-copies]')) copies(button);
  document.getElementById('save')?.addEventListener('click', save);
  window.addEventListener('pagehide', hide);
  setTimeout(hide, HIDE_AFTER_MS);
}
