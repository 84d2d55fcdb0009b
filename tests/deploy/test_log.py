"""The log of a real server, line by line: what its operator searches for is in it, each thing in its own member."""

import json
import re
import signal
import socket
import ssl
import subprocess

import pytest
from machine import PATIENCE, ROOT, SERVICE, Machine, Moody, ask, until


class Logged(Machine):
    """A machine whose log is read."""

    def lines(self):
        lines = (self.folder.parent / "log").read_text().splitlines()
        lines = [json.loads(line, object_pairs_hook=pairs) for line in lines if line.startswith("{")]
        lines = [line for line in lines if "is set, but calls to providers do not go by it" not in str(line["message"])]
        for line in lines:
            assert list(line)[:4] == ["timestamp", "level", "target", "message"] and line["message"], line
            assert not {"span", "spans", "micros", "id"} & set(line), line
        return lines

    def said(self, message):
        return [line for line in self.lines() if line["message"] == message]

    def line(self, message):
        until(lambda: self.said(message))
        (line,) = self.said(message)
        return line


def pairs(members):
    assert len(dict(members)) == len(members), members
    return dict(members)


@pytest.fixture
def started(tmp_path, moody, monkeypatch):
    machines = []

    def start(more="", level="info", epoch=1):
        monkeypatch.setenv("AUTHSEAL_LOG__LEVEL", level)
        machine = Logged(tmp_path / str(len(machines)) / "authseal", moody, more)
        machine.authseal("keys", "new", "--epoch", str(epoch))
        machines.append(machine)
        machine.start()
        return machine

    yield start
    for machine in machines:
        machine.stop()


def test_the_first_line_has_the_facts_and_the_last_one_says_why_and_how_much(started):
    machine = started(epoch=3)
    until(machine.lines)
    first = machine.lines()[0]
    assert re.fullmatch(r"authseal \d+\.\d+\.\d+ starts", first["message"])
    assert first["message"] == f"authseal {first['version']} starts"
    assert first["configuration"] == str(machine.folder / "authseal.toml")
    assert (first["public_url"], first["store"]) == ("https://oauth.example.com/", "memory")
    assert (first["primary_epoch"], first["denylist_rules"], first["services"]) == (3, 0, [SERVICE])
    asked = 1 + sum(ask(f"{machine.url}/healthz")[0] == 200 for _ in range(4))
    machine.stop()
    last = machine.lines()[-1]
    assert (last["message"], last["why"]) == ("ended", "SIGTERM") and last["requests"] >= asked
    machine.start()
    machine.process.send_signal(signal.SIGINT)
    machine.process.wait(PATIENCE)
    machine.process = None
    last = machine.lines()[-1]
    assert (last["message"], last["why"]) == ("ended", "SIGINT")


def test_a_refresh_is_told_with_service_login_epoch_and_source(started):
    machine = started(level="info,authseal::web=debug")
    authid = machine.authid(1)
    assert machine.works(authid) and machine.works(authid)
    until(lambda: len(machine.said("refreshed")) == 2)
    told = machine.said("refreshed")
    assert [line["source"] for line in told] == ["fetched", "cached"]
    for line in told:
        assert (line["level"], line["service"], line["epoch"]) == ("DEBUG", SERVICE, 1)
        assert re.fullmatch("[0-9a-f]{32}", line["grant"]) and re.fullmatch("[0-9a-f]{16}", line["request_id"])
        assert isinstance(line["duration_ms"], float)
    # It is written when the answer is out, which may be after the client has it.
    until(lambda: [line for line in machine.said("answered") if line["route"] == "/refresh"])
    answered = next(line for line in machine.said("answered") if line["route"] == "/refresh")
    assert (answered["method"], answered["status"], answered["request_id"]) == ("GET", 200, told[0]["request_id"])


def test_a_failed_refresh_names_service_provider_client_and_what_the_provider_answered(started):
    machine = started("server.trusted_proxies = ['127.0.0.0/8']")
    Moody.mood = lambda _: (401, {"error": "invalid_client"})
    headers = {"X-AuthID": machine.authid(1), "X-Forwarded-For": "192.0.2.7", "X-Request-Id": "req-7"}
    assert ask(f"{machine.url}/refresh", headers)[0] == 503
    line = machine.line("no access token")
    assert (line["level"], line["service"], line["provider"], line["epoch"]) == ("ERROR", SERVICE, "example", 1)
    assert (line["client"], line["upstream_status"], line["request_id"]) == ("192.0.2.7", 401, "req-7") and line["peer"]
    line = machine.line("the provider does not accept this server's client; check it")
    assert (line["status"], line["codes"], line["service"], line["request_id"]) == (401, ["invalid_client"], SERVICE, "req-7")


def test_an_authid_that_does_not_open_is_told_with_who_sent_it_and_believed_in_nothing_else(started):
    machine = started("server.trusted_proxies = ['127.0.0.0/8']")
    ours = machine.authid(1)
    old = "an AuthID of version 2, which duplicati/oauth-server makes; `legacy.v2 = true` has them served"
    sent = {
        f"v2:{SERVICE}:a-refresh-token": (old, SERVICE),
        "v2:made-up:a-refresh-token": (old, None),
        ours.replace(SERVICE, "made-up"): ("sealed with another server's key, or damaged", None),
        ours[:-2] + ("AA" if ours[-2:] != "AA" else "BA"): ("sealed with another server's key, or damaged", SERVICE),
    }
    for number, authid in enumerate(sent, 1):
        assert ask(f"{machine.url}/refresh", {"X-AuthID": authid, "X-Forwarded-For": f"192.0.2.{number}"})[0] == 401
    until(lambda: len(machine.said("no access token")) == len(sent))
    for number, (line, (why, service)) in enumerate(zip(machine.said("no access token"), sent.values()), 1):
        assert (line["why"], line.get("service"), line["client"]) == (why, service, f"192.0.2.{number}"), line
        assert "epoch" not in line and "made-up" not in json.dumps(line)


def test_a_requests_id_is_the_trusted_proxys_if_it_is_well_formed(started):
    trusting = started("server.trusted_proxies = ['127.0.0.0/8']")
    ours = "[0-9a-f]{16}"
    for value, taken in [
        ("0f7c0f5a-98f5-4a0e-a1ec-2b1c6a4f0c55", True),
        ("Root=1-67891233-abcdef012345678912345678", True),
        ("7F000001:1A2B_0A000001:01BB_6745:4C", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("two words", False),
        ("<b>", False),
        ('"', False),
        ("a\tb", False),
        ("\u00e9", False),
        ("a, b", False),
    ]:
        id = shown(trusting, [value])
        assert id == value if taken else re.fullmatch(ours, id), (value, id)
    assert re.fullmatch(ours, shown(trusting, ["one", "other"])), "one of them may be the client's"
    until(lambda: any(line.get("request_id") == "a" * 128 for line in trusting.said("answered")))
    assert re.fullmatch(ours, shown(started(), ["made-up"])), "of nobody else's"


def shown(machine, values):
    """The id of a request that is answered with an error."""
    host, port = machine.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as stream:
        more = "".join(f"X-Request-Id: {value}\r\n" for value in values)
        stream.sendall(f"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n".encode())
        answer = b"".join(iter(lambda: stream.recv(4096), b"")).decode()
    return re.search(r"^x-request-id: (.*?)\r$", answer, re.MULTILINE)[1]


def test_lists_are_lists_and_numbers_are_numbers_in_the_audit_trail(started):
    machine = started()
    authid = machine.authid(1)
    assert ask(f"{machine.url}/revoked", {"X-AuthID": authid}, b"")[0] == 200
    assert machine.refresh(authid)[0] == 401
    machine.authseal("keys", "stage")
    until(lambda: [line for line in machine.lines() if line.get("event") == "keyring_changed"])
    trail = {line["event"]: line for line in machine.lines() if line["target"] == "authseal::audit"}
    assert (trail["revoked"]["epoch"], trail["revoked"]["durably"], trail["denied"]["epoch"]) == (1, True, 1)
    assert trail["keyring_changed"]["epochs"] == ["1 primary", "2 staged"]


def test_probes_of_a_server_that_ends_are_no_warnings(started):
    machine = started()
    text = (machine.folder / "authseal.toml").read_text()
    (machine.folder / "authseal.toml").write_text(text.replace("server.drain_seconds = 0", "server.drain_seconds = 30"))
    machine.stop()
    machine.start()
    machine.process.terminate()
    until(lambda: ask(f"{machine.url}/readyz")[0] == 503)
    machine.process.send_signal(signal.SIGINT)
    machine.process.wait(PATIENCE)
    machine.process = None
    lines = machine.lines()
    assert lines[-1]["why"] == "SIGINT while ending"
    assert not [line for line in lines if line["message"] == "answered"], lines


HELLO = bytes.fromhex("160301004a010000460303") + bytes(67)
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)


def send(url, content):
    host, port = re.fullmatch(r"https?://(.*):(\d+)", url).groups()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as stream:
        stream.sendall(content)
        try:
            return b"".join(iter(lambda: stream.recv(4096), b""))
        except ConnectionResetError:
            return b""


def ended(machine, reason):
    return int(re.search(rf'reason="{reason}"}} (\d+)', ask(f"{machine.admin}/metrics")[1])[1])


@pytest.mark.parametrize(("content", "reason", "says"), [
    (HELLO, "tls_on_plain_port", "TLS on a plain port: "),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "proxy_protocol", "PROXY protocol on a port that does not speak it: "),
    (PROXY_2 + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "proxy_protocol", "PROXY protocol on a port that does not speak it: "),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", "HTTP/2, "),
])
def test_another_protocol_on_a_plain_port_is_named_once_and_counted_each_time(started, content, reason, says):
    machine = started(level="info,authseal=debug")
    answers = {send(machine.url, content).split(b"\r\n")[0] for _ in range(3)}
    assert answers == {b"HTTP/1.1 400 Bad Request"}
    until(lambda: ended(machine, reason) == 3)
    assert ended(machine, "malformed") == 0
    lines = lambda: [line for line in machine.lines() if line["message"].startswith(says)]
    until(lambda: [line["level"] for line in lines()] == ["WARN", "DEBUG", "DEBUG"])
    assert all(line["peer"] for line in lines())


def test_nonsense_from_strangers_is_no_line_above_debug(started):
    machine = started()
    for content in (b"SSH-2.0-x\r\n\r\n", bytes(range(256)), b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nnonsense\r\n\r\n"):
        send(machine.url, content)
    until(lambda: ended(machine, "malformed") >= 3)
    assert {line["level"] for line in machine.lines()} == {"INFO"}


def test_plain_http_on_a_tls_port_is_named_once_and_good_clients_are_served(started, tmp_path):
    names = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names,
            "-days", "60", "-subj", "/CN=oauth.example.com", "-addext", "subjectAltName=DNS:oauth.example.com"]
    subprocess.run(made, check=True, capture_output=True)
    (tmp_path / "key.pem").chmod(0o600)
    machine = started()
    machine.stop()
    config = machine.folder / "authseal.toml"
    config.write_text(f'tls.cert_file = "{tmp_path}/cert.pem"\ntls.key_file = "{tmp_path}/key.pem"\n{config.read_text()}')
    machine.wait = lambda: until(lambda: len(machine.said("listening")) == 2)
    machine.start()
    for content, reason, count in [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "http_on_tls_port", 2),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_protocol", 2),
        (b"\x16\x03\x01\x00\x02nonsense", "bad_handshake", 1),
    ]:
        for _ in range(count):
            send(machine.url, content)
        until(lambda: ended(machine, reason) == count)
    warnings = lambda: [line["message"].split(":")[0] for line in machine.lines() if line["level"] == "WARN"]
    until(lambda: warnings() == ["plain http on a TLS port", "PROXY protocol on a port that does not speak it"])
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    host, port = machine.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as plain, trusting.wrap_socket(plain, server_hostname="oauth.example.com") as stream:
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert stream.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_every_line_of_the_program_has_a_message():
    events = 0
    for file in sorted((ROOT / "src").rglob("*.rs")):
        code = file.read_text().split("#[cfg(test)]")[0]
        for event in re.finditer(r"tracing::(?:\$level|error|warn|info|debug)!\(", code):
            fields = re.sub(r'"(?:[^"\\]|\\.)*"', '"', code[event.end():], count=0, flags=re.DOTALL)
            depth, end = 1, 0
            while depth:
                depth += {"(": 1, ")": -1}.get(fields[end], 0)
                end += 1
            events += 1
            assert re.search(r'(?:^|,)\s*(?:"|\$message|concat!\(.*\)),?\s*$', fields[: end - 1], re.DOTALL), f"{file}: {fields[:end]}"
    assert events > 80
