"""Three replicas behind a balancer, from config/proxies and docs/scaling.md: restarted one after the other under load, and
asked for every AuthID of a night, with what that costs each program.

With TESTS_FULL=1 the restarts take five minutes. TESTS_AUTHIDS=1000000 replays the night with so many; `pytest -s` prints
what docs/scaling.md has. The clients are here, in Python, and cost more than all that is measured: with many AuthIDs a night
takes longer than it should, and CPU time is counted, not time.
"""

import asyncio
import contextlib
import os
import random
import re
import ssl
import threading
import time

import pytest
from machine import PATIENCE, ROOT, SERVICE, Machine, ask, listening, redis, status, until
from test_proxies import NAME, VISITOR, Proxy, needs, replaced

FULL = bool(os.environ.get("TESTS_FULL"))
LASTS = 300 if FULL else 0  # seconds; each replica is restarted once at least
# How often HAProxy looks, for how many seconds a server drains, and for how long nginx asks nothing of one that was away:
# as in config/proxies and on the page, or in proportion.
EVERY, DRAIN, AWAY = ("2s", 5, "10s") if FULL else ("200ms", 1, "1s")
AUTHIDS = int(os.environ.get("TESTS_AUTHIDS", 300))
FASTER = 60 if "TESTS_AUTHIDS" in os.environ else 3600
NIGHT, BURST = 8, 300  # hours, in each of which half of the backups begin in the first so many seconds
CLIENTS = 24
ROLLING = "exampleonedrive"
TICKS = os.sysconf("SC_CLK_TCK")


class Balancer(Proxy):
    """A proxy that has the lines of docs/scaling.md, for any number of replicas."""

    def haproxy(self, *upstreams):
        command = super().haproxy(upstreams[0])
        page = (ROOT / "docs" / "scaling.md").read_text()
        retries = re.search(r"^```haproxy\n(    option redispatch 1\n.*?)^```$", page, re.DOTALL | re.MULTILINE)[1]
        more = "\n".join(f"    server number{number} {upstream}" for number, upstream in enumerate(upstreams[1:], 2))
        text = replaced(
            (self.folder / "haproxy.cfg").read_text(), (r"^defaults$", f"defaults\n{retries}"), (r"inter 2s", f"inter {EVERY}"),
            (r"^    #server two .*$", more),
        )
        (self.folder / "haproxy.cfg").write_text(text)
        return command

    def nginx(self, *upstreams):
        command = super().nginx(f"{upstreams[0]} fail_timeout={AWAY}")
        more = "\n".join(f"    server {upstream} fail_timeout={AWAY};" for upstream in upstreams[1:])
        text = replaced((self.folder / "snippet.conf").read_text(), (r"^    #server 10.0.0.2:8080;", more))
        (self.folder / "snippet.conf").write_text(text)
        return command


class Clients:
    """Many connections through the balancer, on a thread of their own, of which each second one is for one request only.
    What is asked for comes from an iterator of AuthIDs and of when each is due, in seconds from now."""

    def __init__(self, proxy, requests):
        self.proxy, self.requests = proxy, requests
        self.over, self.done, self.failed, self.late = False, 0, [], 0.0
        self.trust = ssl.create_default_context(cafile=proxy.certificate / "fullchain.pem")
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all()))

    async def all(self):
        self.began = time.monotonic()
        await asyncio.gather(*(self.one(keeps=number % 2) for number in range(CLIENTS)))

    async def one(self, keeps):
        kept = None
        for authid, due in self.requests:
            wait = self.began + due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            self.late = max(self.late, -wait)
            if self.over:
                break
            try:
                kept = await asyncio.wait_for(self.ask(kept, authid, keeps), PATIENCE)
                self.done += 1
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.failed.append(f"{time.monotonic() - self.began:.3f}: {error!r}")
                kept = None
        if kept:
            kept[1].close()

    async def ask(self, kept, authid, keeps):
        """Asks, and gives the connection if it can be kept."""
        reader, writer = kept or await asyncio.open_connection(
            self.proxy.host, self.proxy.https, ssl=self.trust, server_hostname=NAME, local_addr=(VISITOR, 0)
        )
        connection = "keep-alive" if keeps else "close"
        writer.write(f"GET /refresh HTTP/1.1\r\nHost: {NAME}\r\nX-AuthID: {authid}\r\nConnection: {connection}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(re.search(r"^content-length: (\d+)", head, re.MULTILINE)[1]))
        if not head.startswith("http/1.1 200"):
            raise ValueError(head[:15] + str(re.findall("^x-reason:.*", head, re.MULTILINE)))
        if keeps and "connection: close" not in head:
            return reader, writer
        writer.close()
        return None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(2 * PATIENCE)


@contextlib.contextmanager
def fleet(kind, folder, provider, more):
    """Three replicas with one keyring, and the balancer."""
    needs(kind)
    replicas = []
    try:
        for number in range(3):
            replica = Machine(folder / str(number) / "authseal", provider, f'server.trusted_proxies = ["127.0.0.0/16"]\n{more}')
            if replicas:
                (replica.folder / "keys.toml").symlink_to(replicas[0].folder / "keys.toml")
            else:
                replica.authseal("keys", "new")
            replicas.append(replica.start())
        (folder / "proxy").mkdir()
        proxy = Balancer(kind, folder / "proxy", *(replica.url.removeprefix("http://") for replica in replicas))
        try:
            until(proxy.is_ready)
            yield proxy, replicas
        finally:
            proxy.end()
    finally:
        for replica in replicas:
            replica.stop()


def served(replica):
    """How many AuthIDs have come to it since its start."""
    metrics = ask(f"{replica.admin}/metrics")[1]
    return sum(int(count) for count in re.findall(r"^authseal_refresh_total\{.*\} (\d+)$", metrics, re.MULTILINE))


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_replicas_are_restarted_one_after_the_other_and_no_request_fails(kind, tmp_path, provider, monkeypatch):
    monkeypatch.setenv("AUTHSEAL_SERVER__DRAIN_SECONDS", str(DRAIN))
    with fleet(kind, tmp_path, provider, "") as (proxy, replicas):
        sealed = replicas[0].authids(1)
        authids = [next(sealed) for _ in range(100)]

        def for_ever():
            while True:
                for authid in authids:
                    yield authid, 0

        with Clients(proxy, for_ever()) as clients:
            began, restarts = time.monotonic(), 0
            while (restarts < len(replicas) or time.monotonic() < began + LASTS) and not clients.failed:
                replica = replicas[restarts % len(replicas)]
                # The balancer has found them again after their last restarts.
                until(lambda: clients.failed or all(served(each) > 0 for each in replicas))
                replica.stop()
                until(lambda: status(f"{replica.start().url}/readyz") == 200)
                restarts += 1
        seconds = time.monotonic() - began
        assert not clients.failed and clients.done, clients.failed[:3]
        print(f"\n{kind}: {restarts} restarts in {seconds:.0f} s, {clients.done} requests, {clients.done / seconds:.0f} a second, 0 failed")


def due():
    """When each backup of a night begins: half of them within minutes after a full hour."""
    random.seed(1)
    times = (random.randrange(NIGHT) * 3600 + random.uniform(0, BURST if number % 2 else 3600) for number in range(AUTHIDS))
    return sorted(time / FASTER for time in times)


def cpu(process):
    """Seconds of all its threads."""
    with open(f"/proc/{process.pid}/stat") as stat:
        return sum(map(int, stat.read().rpartition(") ")[2].split()[11:13])) / TICKS


def memory(process):
    """Bytes."""
    with open(f"/proc/{process.pid}/status") as told:
        return 1024 * int(re.search(r"^VmRSS:\s+(\d+)", told.read(), re.MULTILINE)[1])


class Replaces(asyncio.Protocol):
    """A provider on a thread of its own that answers each form with an access token, and a new refresh token."""

    count = 0

    def connection_made(self, transport):
        self.transport, self.received = transport, b""

    def data_received(self, data):
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        if len(body) < int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 1])[1]):
            return
        self.received = b""
        Replaces.count += 1
        content = b'{"access_token":"at","token_type":"bearer","expires_in":3600,"refresh_token":"%064d"}' % Replaces.count
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


@pytest.fixture
def replaces():
    with listening(Replaces) as url:
        yield url


@pytest.mark.parametrize(("kind", "service"), [("rotation = none", SERVICE), ("rotation = rolling", ROLLING)])
def test_a_night_of_backups_is_served_and_its_cost_is_told(kind, service, tmp_path, replaces):
    with redis() as (store, engine):
        more = f"""
state.store = "{store}"
[clients.rolling]
id = "1234"
[providers.rolling]
authorize_url = "{replaces}/authorize"
token_url = "{replaces}/token"
rotation = "rolling"
[services.{ROLLING}]
provider = "rolling"
name = "Example OneDrive"
scopes = ["files"]
"""
        with fleet("haproxy", tmp_path, replaces, more) as (proxy, replicas):
            times = due()
            sealed = replicas[0].authids(1, service=service)
            requests = [(next(sealed), time) for time in times]
            programs = {"replicas": [replica.process for replica in replicas], "HAProxy": [proxy.process], "Redis": [engine]}
            before = {name: sum(map(cpu, processes)) for name, processes in programs.items()}
            small, began = memory(engine), time.monotonic()
            with Clients(proxy, iter(requests)) as clients:
                clients.thread.join()
            seconds = time.monotonic() - began
            assert clients.done == AUTHIDS and not clients.failed, clients.failed[:3]
            assert Replaces.count >= AUTHIDS
            costs = {name: (sum(map(cpu, processes)) - before[name]) * 1e6 / AUTHIDS for name, processes in programs.items()}
            print(
                f"\n{kind}: {AUTHIDS} AuthIDs in {seconds:.0f} s instead of {times[-1]:.0f}, {clients.late:.1f} s late at most; µs of a core for each:",
                ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items()),
                f"; {(memory(engine) - small) / AUTHIDS:.0f} bytes of Redis; MiB of a replica:",
                ", ".join(f"{memory(replica.process) / 2**20:.0f}" for replica in replicas),
            )
