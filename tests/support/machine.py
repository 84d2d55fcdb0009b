"""A folder with a configuration and the server that runs there, a pretend provider, and the blocks of a page."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from authid_reader import LABEL, derive, read_secret
from Crypto.Cipher import ChaCha20_Poly1305

ROOT = Path(__file__).parent.parent.parent
BINARY = Path(os.environ.get("TESTS_BIN") or ROOT / "target" / "debug" / "authseal").resolve()
PATIENCE = 60  # seconds for a procedure; all of them take moments
SERVICE = "exampledrive"


def blocks_by_section(page):
    """The `sh` blocks below each heading."""
    found, heading = {}, None
    for match in re.finditer(r"^#+ ([^\n]*)$|^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        if match.group(1) is not None:
            heading = match.group(1)
        else:
            found.setdefault(heading, []).append(match.group(2))
    return found


def address():
    """A loopback address that no other process uses, so that ports need not be looked for."""
    pid = os.getpid()
    return f"127.{1 + pid // 65536 % 126}.{pid // 256 % 256}.{pid % 256}", next(ports)


ports = itertools.count(20_000)


@contextlib.contextmanager
def listening(protocol):
    """The URL where an asyncio protocol answers, in a thread of its own."""
    host, port = address()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(loop.create_server(protocol, host, port, backlog=1000))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield f"http://{host}:{port}"
    loop.call_soon_threadsafe(loop.stop)


class Provider(BaseHTTPRequestHandler):
    """A provider that always answers with an access token."""

    asked_with = []  # the client secrets

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked_with.extend(form.get("client_secret", []))
        body = json.dumps({"access_token": "an-access-token", "token_type": "bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Moody(Provider):
    """A provider that answers with `mood`, if there is one."""

    mood = None

    def do_POST(self):
        if Moody.mood is None:
            return super().do_POST()
        code, content = Moody.mood(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Machine:
    """A folder with a configuration, and the server that runs there."""

    def __init__(self, folder, provider, more=""):
        self.folder, self.process = folder, None
        (host, port), (_, admin) = address(), address()
        self.url, self.admin = f"http://{host}:{port}", f"http://{host}:{admin}"
        folder.mkdir(parents=True)
        (folder / "authseal.toml").write_text(f"""
public_url = "https://oauth.example.com"
listen = ["{host}:{port}"]
server.drain_seconds = 0
admin.listen = ["{host}:{admin}"]
{more}
[clients.example]
id = "1234"
[providers.example]
authorize_url = "{provider}/authorize"
token_url = "{provider}/token"
rotation = "none"
[services.{SERVICE}]
provider = "example"
name = "Example Drive"
scopes = ["files"]
""")
        self.authseal("denylist", "init")

    def authseal(self, *arguments):
        return subprocess.run([BINARY, *arguments], cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE)

    def start(self):
        with open(self.folder.parent / "log", "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve"], cwd=self.folder, stdout=log, stderr=log)
        return self.wait()

    def wait(self):
        until(lambda: status(f"{self.url}/healthz") == 200)
        return self

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def authid(self, epoch, login=0):
        """A login of so many seconds ago, sealed under an epoch as docs/authid-format.md says."""
        return next(self.authids(epoch, login))

    def authids(self, epoch, login=0, service=SERVICE):
        """As many of them as one wants."""
        text = (self.folder / "keys.toml").read_text()
        _, secret = read_secret(re.search(rf'"(authseal-key:{epoch}:[^"]*)"', text).group(1))
        key = derive(secret)
        while True:
            grant, nonce, now = secrets.token_bytes(16), secrets.token_bytes(24), int(time.time())
            bind = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            content = {"token": "a-refresh-token", "sealed": now - login, "login": now - login, "bind": bind}
            cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
            cipher.update(LABEL + b"\0" + bytes([len(service)]) + service.encode() + epoch.to_bytes(4, "big") + grant)
            ciphertext, tag = cipher.encrypt_and_digest(json.dumps(content, separators=(",", ":")).encode())
            body = base64.urlsafe_b64encode(grant + nonce + ciphertext + tag).decode().rstrip("=")
            yield f"v3:{service}:{epoch}:{body}"

    def refresh(self, authid):
        """Status and content of the answer."""
        return ask(f"{self.url}/refresh", {"X-AuthID": authid})

    def works(self, authid):
        return self.refresh(authid)[0] == 200

    def seals(self):
        """The epoch that this server seals with."""
        return json.loads(ask(f"{self.admin}/keyring")[1])["primary"]

    def exchanged(self, authid):
        """What a client of /token is told to keep in the place of its AuthID."""
        form = f"grant_type=refresh_token&refresh_token={authid}".encode()
        return json.loads(ask(f"{self.url}/token", body=form)[1])["refresh_token"]


def ask(url, headers=None, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def status(url):
    try:
        return ask(url)[0]
    except urllib.error.URLError:
        return None


def until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


@contextlib.contextmanager
def redis():
    """A Redis of the test's own; its URL, and the process."""
    host, port = address()
    process = subprocess.Popen(["redis-server", "--bind", host, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)

    def listens():
        with socket.socket() as one:
            return one.connect_ex((host, port)) == 0

    try:
        until(listens)
        yield f"redis://{host}:{port}", process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def script(tools, name, text):
    (tools / name).write_text(f"#!/bin/bash\nset -euo pipefail\n{text}")
    (tools / name).chmod(0o755)


def pretend_system(tools):
    """What changes a machine, or asks for a user that it has not: done as the user of the test, or not at all."""
    for name in ("apt-get", "useradd", "chown"):
        script(tools, name, "exit 0\n")
    script(tools, "runuser", '[[ "$1 $2 $3" == "-u authseal --" ]]\nexec "${@:4}"\n')
    script(tools, "install", f"""
arguments=()
while (($#)); do
    case $1 in
    -o | -g) shift ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
exec {shutil.which("install")} "${{arguments[@]}}"
""")
