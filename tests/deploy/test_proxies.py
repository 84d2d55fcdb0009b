"""The proxies of config/proxies, each the real program in front of a real server. Of its configuration only names of
files, addresses and ports are changed, and for Caddy where its certificate comes from."""

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificate import make_certificate
from machine import PATIENCE, ROOT, Machine, address, status, until

KINDS = ["nginx", "haproxy", "caddy"]
NAME = "oauth.example.com"
VISITOR = "127.77.0.9"  # not where the proxy itself comes from; all of 127.0.0.0/8 is shown as 127.0.0.1


def replaced(text, *changes):
    """The text with each pattern replaced, which has to be there."""
    for pattern, new in changes:
        text, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
        assert count, f"{pattern} is not in the configuration"
    return text


class Proxy:
    """One of the programs, in front of servers. For a second one the lines are taken in that the comments have for it."""

    def __init__(self, kind, folder, *upstreams):
        (self.host, self.http), (_, self.https) = address(), address()
        self.folder = folder
        self.certificate = make_certificate(folder / "certificate", NAME)
        self.log = folder / "log"
        command = getattr(self, kind)(*upstreams)
        with open(folder / "errors", "ab") as errors:
            self.process = subprocess.Popen(command, cwd=folder, stdout=errors, stderr=errors)

    def nginx(self, upstream, second=None):
        several = [(r"#(?=map|hash)", ""), (r"#server 10.0.0.2:8080", f"server {second}")] if second else []
        text = replaced(
            (ROOT / "config/proxies/nginx.conf").read_text(),
            *several,
            (r"^    listen 80;", f"    listen {self.host}:{self.http};"),
            (r"^    listen 443 ssl;", f"    listen {self.host}:{self.https} ssl;"),
            (r"^    listen \[::\].*\n", ""),
            (r"^    server 127.0.0.1:8080;", f"    server {upstream};"),
            (r"/etc/letsencrypt/live/oauth.example.com", str(self.certificate)),
            (r"/var/log/nginx/authseal.log", str(self.log)),
        )
        (self.folder / "snippet.conf").write_text(text)
        temporary = "".join(f"{kind}_temp_path temp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid nginx.pid; error_log stderr; events {{}}\nhttp {{ {temporary} include snippet.conf; }}"
        )
        return ["nginx", "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"]

    def haproxy(self, upstream, second=None):
        several = [(r"#(?=balance|hash-type)", ""), (r"#server two 10.0.0.2:8080", f"server two {second}")] if second else []
        both = self.folder / "both.pem"
        both.write_bytes(b"".join((self.certificate / name).read_bytes() for name in ("fullchain.pem", "privkey.pem")))
        text = replaced(
            (ROOT / "config/proxies/haproxy.cfg").read_text(),
            *several,
            (r"bind :::80 v4v6", f"bind {self.host}:{self.http}"),
            (r"bind :::443 v4v6", f"bind {self.host}:{self.https}"),
            (r"/etc/haproxy/oauth.example.com.pem", str(both)),
            (r"server one 127.0.0.1:8080", f"server one {upstream}"),
        )
        (self.folder / "haproxy.cfg").write_text(text)
        self.log = self.folder / "errors"
        return ["haproxy", "-db", "-f", self.folder / "haproxy.cfg"]

    def caddy(self, *upstreams):
        several = [(r"#(?=request_header|lb_policy)", "")] if len(upstreams) > 1 else []
        text = replaced(
            (ROOT / "config/proxies/Caddyfile").read_text(),
            *several,
            (r"^http://.* \{$", "(both) {"),
            (r"\{\$UPSTREAMS:127.0.0.1:8080\}", " ".join(upstreams)),
        )
        ports = f"http_port {self.http}\nhttps_port {self.https}\ndefault_bind {self.host}"
        storage = f"storage file_system {self.folder}/storage"
        # A certificate of one's own is for the https half alone.
        pair = f"{self.certificate}/fullchain.pem {self.certificate}/privkey.pem"
        halves = f"http://{NAME} {{\nimport both\n}}\nhttps://{NAME} {{\ntls {pair}\nimport both\n}}\n"
        (self.folder / "Caddyfile").write_text(f"{{\nadmin off\n{ports}\n{storage}\n}}\n{text}\n{halves}")
        self.log = self.folder / "errors"
        return ["caddy", "run", "--adapter", "caddyfile", "--config", self.folder / "Caddyfile"]

    def ask(self, method, path, headers=None, tls=True):
        """Status, headers and body, as a visitor with an address of its own gets them."""
        raw = socket.create_connection((self.host, self.https if tls else self.http), PATIENCE, (VISITOR, 0))
        trust = ssl.create_default_context(cafile=self.certificate / "fullchain.pem")
        connection = http.client.HTTPConnection(NAME)
        connection.sock = trust.wrap_socket(raw, server_hostname=NAME) if tls else raw
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, body

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "errors").read_text()
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False


def needs(kind):
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")


@pytest.fixture(params=KINDS)
def proxy(request, tmp_path, provider):
    needs(request.param)
    (tmp_path / "acme").mkdir()
    more = f'server.trusted_proxies = ["127.0.0.0/16"]\nacme_challenge_dir = "{tmp_path}/acme"'
    machine = Machine(tmp_path / "authseal", provider, more)
    machine.authseal("keys", "new")
    machine.start()
    (tmp_path / "proxy").mkdir()
    proxy = Proxy(request.param, tmp_path / "proxy", machine.url.removeprefix("http://"))
    proxy.machine = machine
    try:
        until(proxy.is_ready)
        yield proxy
    finally:
        proxy.end()
        machine.stop()


def test_a_server_behind_a_proxy(proxy):
    machine = proxy.machine
    authid = machine.authid(1)
    code, headers, body = proxy.ask("GET", "/")
    assert code == 200 and "<title>" in body
    assert headers["Strict-Transport-Security"], "the server knows that it is reached by https"
    assert proxy.ask("GET", "/refresh", {"X-AuthID": authid})[0] == 200
    # What a client writes there counts for nothing; what the proxy saw does.
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.8;proto=http"}
    code, _, body = proxy.ask("POST", "/revoked", {"X-AuthID": authid, "Content-Length": "0", **forged})
    assert code == 200, body
    # The log is written beside the answer, not before it.
    log = machine.folder.parent / "log"
    until(lambda: '"revoked"' in log.read_text())
    trail = [line for line in log.read_text().splitlines() if '"revoked"' in line]
    # Not the forged address, and not "unknown", which it is where the headers contradict each other.
    assert len(trail) == 1 and '"client":"127.0.0.1"' in trail[0], trail


def test_plain_http_before_a_proxy(proxy):
    code, headers, _ = proxy.ask("GET", "/", tls=False)
    assert (code, headers["Location"]) == (308, f"https://{NAME}/")
    (proxy.machine.folder.parent / "acme" / "a-token").write_text("a-token.thumbprint")
    code, _, body = proxy.ask("GET", "/.well-known/acme-challenge/a-token", tls=False)
    assert (code, body) == (200, "a-token.thumbprint")
    # What could have been read on its way is refused, not redirected: that would keep it from being noticed.
    for path in ("/", "/refresh"):
        code, headers, _ = proxy.ask("GET", path, {"X-AuthID": proxy.machine.authid(1)}, tls=False)
        assert code == 401, path
    assert "plain http" in headers["X-Reason"]


def test_the_log_of_a_proxy_has_no_secrets(proxy):
    authid = proxy.machine.authid(1)
    for tls in (True, False):
        proxy.ask("GET", "/?type=exampledrive&token=AFetchTokenThatIsSecret", {"X-AuthID": authid}, tls)
        proxy.ask("GET", "/logged-in?code=ACodeThatIsSecret&state=x", tls=tls)
    proxy.ask("GET", "/privacy-policy")
    end = time.monotonic() + PATIENCE
    while proxy.log != proxy.folder / "errors" and "/privacy-policy" not in proxy.log.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    text = proxy.log.read_text() + (proxy.folder / "errors").read_text()
    assert "IsSecret" not in text and authid not in text, text


def test_a_replica_that_is_about_to_end_gets_no_more_requests(proxy):
    proxy.machine.stop()
    until(lambda: proxy.ask("GET", "/healthz")[0] in (502, 503))
    proxy.machine.start()
    until(lambda: proxy.ask("GET", "/healthz")[0] == 200)
    assert status(f"{proxy.machine.url}/healthz") == 200


class Replica(BaseHTTPRequestHandler):
    """Answers everything with its own port."""

    def do_GET(self):
        body = str(self.server.server_port).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_the_same_token_goes_to_the_same_of_several_replicas(kind, tmp_path):
    needs(kind)
    replicas = [ThreadingHTTPServer(("127.0.0.1", 0), Replica) for _ in range(2)]
    for replica in replicas:
        threading.Thread(target=replica.serve_forever, daemon=True).start()
    proxy = Proxy(kind, tmp_path, *(f"127.0.0.1:{replica.server_port}" for replica in replicas))
    try:
        until(proxy.is_ready)
        # Both are in use: a proxy may look at one a little later than at the other.
        until(lambda: len({proxy.ask("GET", "/")[2] for _ in range(20)}) == 2)
        used = set()
        for number in range(20):
            token = f"AFetchToken{number}"
            asked = [("GET", f"/fetch?callback=f&token={token}"), ("POST", f"/deliver?token={token}"), ("GET", f"/?token={token}")]
            answers = {proxy.ask(method, path, {"Content-Length": "0"})[2] for method, path in asked}
            assert len(answers) == 1, (token, answers)
            used |= answers
        assert len(used) == 2, used
    finally:
        proxy.end()
        for replica in replicas:
            replica.shutdown()
            replica.server_close()
