"""Python's google-auth against /token of the real server: an OAuth library that knows nothing of authseal refreshes
with an AuthID as its refresh token (RFC 6749 section 6), after a login walked through without a browser.

The server is `$TESTS_BIN demo`, by default the debug build.
"""

import datetime
import os
import re
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

BINARY = os.environ.get("TESTS_BIN") or Path(__file__).parent.parent.parent / "target" / "debug" / "authseal"
PATIENCE = 30  # seconds for anything; all of it takes a moment


@pytest.fixture(scope="module")
def server():
    """The address of a running demo server."""
    process = subprocess.Popen([BINARY, "demo", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        found = (re.search(r"http://127\.0\.0\.1:[0-9]+", line) for line in process.stdout)
        address = next(filter(None, found), None)
        watchdog.cancel()
        assert address, f"{BINARY} demo ended without saying where it listens"
        # A full pipe would stop the server.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield address.group()
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(PATIENCE)


class Page(HTMLParser):
    """What a person sees of a page: its links, its form with the first button, and the text of #authid."""

    def __init__(self, answer):
        super().__init__()
        assert answer.status_code == 200, f"{answer.url} answered {answer.status_code}: {answer.text}"
        self.url, self.links, self.form, self.fields, self.authid = answer.url, [], None, {}, ""
        self.inside, self.pressed = None, False
        self.feed(answer.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "a" and "href" in attributes:
            self.links.append(urljoin(self.url, attributes["href"]))
        if tag == "form" and self.form is None:
            self.form = urljoin(self.url, attributes.get("action") or self.url)
        if tag == "input" and "name" in attributes:
            self.fields[attributes["name"]] = attributes.get("value", "")
        if tag == "button" and self.form and not self.pressed:
            self.pressed = True
            if "name" in attributes:
                self.fields[attributes["name"]] = attributes.get("value", "")
        if attributes.get("id") == "authid":
            self.authid, self.inside = attributes.get("value", ""), tag

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = None

    def handle_data(self, text):
        if self.inside == "textarea":
            self.authid += text


@pytest.fixture(scope="module")
def authid(server):
    """The AuthID that a person gets who logs in and agrees."""
    with requests.Session() as browser:
        start = Page(browser.get(f"{server}/", timeout=PATIENCE))
        login = next(link for link in start.links if link.startswith(f"{server}/login?id=demo"))
        consent = Page(browser.get(login, timeout=PATIENCE))
        assert consent.form, f"{consent.url} has no form"
        end = Page(browser.post(consent.form, data=consent.fields, timeout=PATIENCE))
    assert end.url.startswith(f"{server}/logged-in")
    assert end.authid.strip().startswith("v3:demo")
    return end.authid.strip()


def credentials(server, authid):
    # google-auth wants a client id and secret; authseal has its own and ignores them.
    return Credentials(None, refresh_token=authid, token_uri=f"{server}/token", client_id="any", client_secret="any")


def post(server, **form):
    return requests.post(f"{server}/token", data=form, timeout=PATIENCE, allow_redirects=False)


def test_google_auth_refreshes_and_the_second_time_gets_the_same_token(server, authid):
    first = credentials(server, authid)
    first.refresh(Request())
    assert first.valid
    assert first.token
    assert first.expiry > datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert first.refresh_token.startswith("v3:demo")
    second = credentials(server, authid)
    second.refresh(Request())
    assert second.token == first.token


def test_an_answer_has_the_form_of_the_rfc_and_is_not_stored(server, authid):
    answer = post(server, grant_type="refresh_token", refresh_token=authid)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "no-store" in answer.headers["Cache-Control"]
    content = answer.json()
    assert content["token_type"].lower() == "bearer"
    assert isinstance(content["expires_in"], int) and content["expires_in"] > 30


@pytest.mark.parametrize("spoil", [lambda _: "garbage", lambda authid: authid[:-9], lambda authid: authid.replace(":1:", ":01:")])
def test_google_auth_is_told_that_a_spoilt_authid_is_no_grant(server, authid, spoil):
    spoilt = spoil(authid)
    assert spoilt != authid
    with pytest.raises(RefreshError, match="invalid_grant") as refused:
        credentials(server, spoilt).refresh(Request())
    assert not refused.value.retryable


@pytest.mark.parametrize(
    ("error", "form"),
    [
        ("unsupported_grant_type", {"grant_type": "password", "refresh_token": "garbage"}),
        ("unsupported_grant_type", {"grant_type": "authorization_code", "code": "x"}),
        ("invalid_request", {"grant_type": "refresh_token"}),
        ("invalid_request", {"refresh_token": "garbage"}),
        ("invalid_request", {}),
    ],
)
def test_a_request_of_another_form_is_told_what_is_wrong_with_it(server, error, form):
    answer = post(server, **form)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
