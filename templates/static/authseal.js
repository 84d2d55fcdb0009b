// The page that shows an AuthID: copy it, hand it to the page that opened this window, and take it off the screen again.
// All texts stand in the page. Without this script the AuthID is there all the same, to be copied by hand.
'use strict';

const HIDE_AFTER_MS = 10 * 60 * 1000;
const POLL_EVERY_MS = 3000;
const POLLS = 33; // the mailbox keeps an AuthID for 90 s

const ready = document.getElementById('ready');
const field = document.getElementById('authid');
const button = document.getElementById('copy');

let gone = false;

// Shows one of the status sentences; the page need not have it.
function say(state) {
  const wanted = ready.querySelector(`[data-state="${state}"]`);
  if (!wanted) return;
  for (const sentence of ready.querySelectorAll('[data-state]')) {
    sentence.classList.toggle('on', sentence === wanted);
  }
}

// The code and the state in the address are spent, but they need not stay in the history.
function cleanAddress() {
  history.replaceState(null, '', '/logged-in');
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

// Asks whether the mailbox has been emptied. A failed request is just another "not yet".
async function watchMailbox(token) {
  for (let poll = 0; poll < POLLS; poll += 1) {
    await new Promise((done) => setTimeout(done, POLL_EVERY_MS));
    if (gone) return;
    try {
      const answer = await fetch('/token-state?token=' + encodeURIComponent(token), { cache: 'no-store' });
      if (answer.ok && (await answer.json()).success === true) return say('picked-up');
    } catch {
      // not yet
    }
  }
  say('not-picked-up');
}

// The clipboard API wants a secure context, which plain http on a LAN is not: hence the old way as well.
async function copy() {
  let copied;
  try {
    await navigator.clipboard.writeText(field.value);
    copied = true;
  } catch {
    field.focus();
    field.select();
    copied = document.execCommand('copy');
  }
  showCopied(copied ? button.dataset.copied : button.dataset.failed, copied);
}

const label = button ? button.textContent : '';
let labelTimer;

function showCopied(text, copied) {
  const said = document.getElementById('copy-said');
  button.textContent = said.textContent = text;
  button.classList.toggle('done', copied);
  clearTimeout(labelTimer);
  labelTimer = setTimeout(() => {
    button.textContent = label;
    said.textContent = '';
    button.classList.remove('done');
  }, 4000);
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

if (ready) {
  const { deliverTo, fetchToken } = ready.dataset;
  ready.removeAttribute('data-deliver-to');
  ready.removeAttribute('data-fetch-token');
  cleanAddress();
  if (deliverTo) sendToOpener(deliverTo);
  if (fetchToken) watchMailbox(fetchToken);
  button.addEventListener('click', copy);
  field.addEventListener('focus', () => field.select());
  window.addEventListener('pagehide', hide);
  setTimeout(hide, HIDE_AFTER_MS);
}
