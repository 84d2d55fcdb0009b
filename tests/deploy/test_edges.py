"""A server at its limits: what ten thousand connections and ten thousand waiting requests cost, and that everybody is served
when it is over. docs/scaling.md has what was measured; `pytest -s` prints it. Heavy: with TESTS_FULL=1."""

import asyncio
import itertools
import json
import multiprocessing
import os
import resource
import select
import socket
import subprocess
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import machine as machines
import pytest
from machine import BINARY, Machine, Moody, address, ask, listening, status, until

MANY = 9_000 if os.environ.get("TESTS_FULL") else 300
KIB = 1024


@pytest.fixture
def moody():
    Moody.mood = None
    host, port = address()
    server = ThreadingHTTPServer((host, port), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{host}:{port}"
    server.shutdown()
    server.server_close()


class Quick(asyncio.Protocol):
    """A provider on a thread of its own that answers a form at once, by `good`."""

    good = True
    life = 3600  # seconds

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, _):
        content = b'{"access_token":"at","token_type":"bearer","expires_in":%d}' % Quick.life if Quick.good else b"{}"
        head = "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        self.transport.write((head % ("200 OK" if Quick.good else "503 Busy", len(content))).encode() + content)
        self.transport.close()


@pytest.fixture
def quick():
    with listening(Quick) as url:
        yield url


@pytest.fixture
def apart():
    """The same in a process of its own, which nothing here keeps from answering, with tokens of a second."""
    host, port = address()

    async def answer():
        await (await asyncio.get_running_loop().create_server(Quick, host, port, backlog=1000)).serve_forever()

    def run():
        Quick.life = 1
        asyncio.run(answer())

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    yield f"http://{host}:{port}"
    process.kill()
    process.join()


@pytest.fixture
def serve(tmp_path, moody):
    machines = []

    def start(more="", limits=lambda: None):
        machine = Machine(tmp_path / str(len(machines)) / "authseal", moody, more)
        machine.authseal("keys", "new")
        log = open(machine.folder.parent / "log", "ab")
        machine.process = subprocess.Popen([BINARY, "serve"], cwd=machine.folder, stderr=log, preexec_fn=limits)
        log.close()
        machines.append(machine)
        until(lambda: status(f"{machine.admin}/healthz") == 200)
        return machine

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield start
    for machine in machines:
        machine.stop()


def of_process(machine, name):
    """A number of /proc/<pid>/status: KiB, or threads."""
    text = open(f"/proc/{machine.process.pid}/status").read()
    return int(text.split(f"{name}:")[1].split()[0])


def used(machine):
    """Seconds of processor time so far."""
    return sum(map(int, open(f"/proc/{machine.process.pid}/stat").read().split()[13:15])) / os.sysconf("SC_CLK_TCK")


def gauge(machine, name):
    lines = ask(f"{machine.admin}/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def connected(machine, count):
    host, port = machine.url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port))) for _ in range(count)]


def seconds(of):
    begun = time.monotonic()
    assert of()
    return time.monotonic() - begun


@pytest.fixture
def memory():
    """A control group of 96 MiB; who calls it is in it."""
    first = Path("/sys/fs/cgroup/memory")
    folder = (first if first.exists() else Path("/sys/fs/cgroup")) / f"authseal-{os.getpid()}"
    limit = folder / ("memory.limit_in_bytes" if first.exists() else "memory.max")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    try:
        try:
            limit.write_text(str(96 * KIB * KIB))
        except OSError:
            pytest.skip("no memory controller here")
        yield lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


def test_many_idle_connections_cost_little_and_are_ended(serve):
    machine = serve("server.max_connections = 20000")
    before, threads = of_process(machine, "VmRSS"), of_process(machine, "Threads")
    many = []
    for _ in range(MANY // 100):
        for one in connected(machine, 100):
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            many.append(one)
    for one in many:
        assert one.recv(4096).startswith(b"HTTP/1.1 200")
    after = of_process(machine, "VmRSS")
    waits = sorted(seconds(lambda: status(f"{machine.url}/healthz") == 200) for _ in range(100))
    each = (after - before) / len(many)
    print(f"{len(many)} idle connections: {before} KiB, then {after} KiB, {each:.1f} KiB each; p99 of a new client {waits[98]:.3f} s")
    assert each < 40 and of_process(machine, "Threads") < threads + 10
    until(lambda: gauge(machine, 'authseal_connections{listener="public"') < 10)
    for one in many:
        one.close()


def test_many_who_wait_for_a_provider_cost_little_and_are_served_when_it_is_back(serve, quick, monkeypatch):
    monkeypatch.setenv("AUTHSEAL_PROVIDERS__EXAMPLE__TOKEN_URL", f"{quick}/token")
    machine = serve(f"server.max_connections = 20000\nrefresh.max_waiting = {MANY}\nrefresh.wait_seconds = 22")
    authids = [machine.authid(1) for _ in range(MANY)]
    machine.refresh(authids[0])
    Quick.good = False
    before = of_process(machine, "VmRSS")
    host, port = machine.url.removeprefix("http://").split(":")
    waiting, back = [], []

    async def client(authid):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-AuthID: {authid}\r\n\r\n".encode())
        head = await reader.readline()
        writer.close()
        return head.split()[1], time.monotonic()

    async def storm():
        requests = []
        for authid in authids[1:]:
            requests.append(asyncio.create_task(client(authid)))
            if len(requests) % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(9)
        waiting.append((of_process(machine, "VmRSS"), gauge(machine, "authseal_refresh_waiting")))
        Quick.good = True
        back.append(time.monotonic())
        return await asyncio.gather(*requests)

    answers = asyncio.run(storm())
    (after, count), (since,) = waiting[0], back
    good = sorted(at - since for code, at in answers if code == b"200")
    print(
        f"{count:.0f} wait: {before} KiB, then {after} KiB, {(after - before) / max(count, 1):.1f} KiB each; {len(good)} of "
        f"{len(answers)} are served, half of them {good[len(good) // 2]:.1f} s and all {good[-1]:.1f} s after it is back"
    )
    assert {code for code, _ in answers} <= {b"200", b"503"}
    assert len(good) > 0.9 * len(answers) and after - before < 40 * max(count, 1) + 64 * KIB


class Bad(asyncio.Protocol):
    """A provider that hangs up, or answers with an error after `time`; `None` for never."""

    time = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, _):
        if Bad.time is not None:
            asyncio.get_running_loop().call_later(Bad.time, self.transport.close)


@pytest.fixture
def bad():
    with listening(Bad) as url:
        yield url


OTHER = """
[clients.other]
id = "1234"
[providers.other]
authorize_url = "%s/authorize"
token_url = "%s/token"
rotation = "none"
[services.otherdrive]
provider = "other"
name = "Other Drive"
scopes = ["files"]
"""


@pytest.mark.parametrize("time", [None, 5, 0], ids=["hangs", "is slow", "hangs up"])
def test_a_bad_provider_costs_the_others_little(serve, quick, bad, monkeypatch, time):
    monkeypatch.setenv("AUTHSEAL_PROVIDERS__EXAMPLE__TOKEN_URL", f"{quick}/token")
    Bad.time, Quick.good = time, True
    machine = serve(OTHER % (bad, bad))
    host, port = machine.url.removeprefix("http://").split(":")
    count, crowd = (100, 300) if os.environ.get("TESTS_FULL") else (20, 100)

    async def refresh(authid):
        begun = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-AuthID: {authid}\r\n\r\n".encode())
        head = await reader.readline()
        writer.close()
        return head.split()[1], asyncio.get_running_loop().time() - begun

    async def block(good):
        took = []
        for authid in good:
            code, seconds = await refresh(authid)
            assert code == b"200"
            took.append(seconds)
        return took

    async def alternate():
        alone, beside = [], []
        for _ in range(4):
            monkeypatch.setattr(machines, "SERVICE", "exampledrive")
            good = [machine.authid(1) for _ in range(2 * count)]
            monkeypatch.setattr(machines, "SERVICE", "otherdrive")
            crowded = [machine.authid(1) for _ in range(crowd)]
            alone += await block(good[:count])
            requests = [asyncio.create_task(refresh(authid)) for authid in crowded]
            await asyncio.sleep(1)
            beside += await block(good[count:])
            [request.cancel() for request in requests]
            await asyncio.gather(*requests, return_exceptions=True)
        return sorted(alone), sorted(beside)

    alone, beside = asyncio.run(alternate())
    at = lambda waits, part: waits[int(part * (len(waits) - 1))]
    for part in (0.5, 0.99):
        print(
            f"{time}: {part}: {1000 * at(alone, part):.1f} ms alone, {1000 * at(beside, part):.1f} ms while {crowd} wait for "
            f"another provider, {at(beside, part) / at(alone, part):.2f} x"
        )


def test_with_little_memory_as_many_connections_as_fit_are_served(memory, serve):
    machine = serve("server.max_connections = 1500", limits=memory)
    Moody.mood = lambda _: (503, {})
    many = connected(machine, 3000)
    for one in many[-600:]:
        authid = machine.authid(1)
        one.sendall(f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nX-AuthID: {authid}\r\n\r\n".encode())
    until(lambda: gauge(machine, "authseal_refresh_waiting") > 500)
    print(f"3000 connections and 600 that wait in 96 MiB: {of_process(machine, 'VmRSS')} KiB")
    Moody.mood = None
    for one in many:
        one.close()
    assert machine.process.poll() is None
    until(lambda: machine.refresh(machine.authid(1))[0] == 200)


def test_a_crowd_beyond_the_descriptors_ends_and_everybody_is_served_again(serve):
    machine = serve(limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    authid = machine.authid(1)
    assert machine.refresh(authid)[0] == 200
    many = connected(machine, 1000)
    began, before = time.monotonic(), used(machine)
    time.sleep(3)  # what a server costs that can accept nobody
    share = (used(machine) - before) / (time.monotonic() - began)
    for one in many:
        one.close()
    again = seconds(lambda: machine.refresh(authid)[0] == 200)
    new = seconds(lambda: machine.refresh(machine.authid(1))[0] == 200)
    print(f"1000 connections with 256 descriptors: {100 * share:.0f} % of a core; {again:.2f} s and {new:.2f} s when they are gone")
    assert share < 0.5 and again < 10 and new < 10


def test_providers_that_hang_leave_descriptors_to_files(serve, bad, monkeypatch):
    monkeypatch.setenv("AUTHSEAL_PROVIDERS__EXAMPLE__TOKEN_URL", f"{bad}/token")
    Bad.time = None
    machine = serve(OTHER % (bad, bad), limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    hanging = [machine.authids(1, service=service) for service in ("exampledrive", "otherdrive")]
    many = connected(machine, 180)
    for one, authids in zip(many, itertools.cycle(hanging)):
        one.sendall(f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nX-AuthID: {next(authids)}\r\n\r\n".encode())
    until(lambda: gauge(machine, "authseal_refresh_waiting") > 50)
    for _ in range(5):
        code, answer = ask(f"{machine.url}/revoked", {"X-AuthID": machine.authid(1)}, b"at_provider=no")
        assert code == 200 and json.loads(answer)["revoked"], answer
    assert "Too many open files" not in (machine.folder.parent / "log").read_text()
    for one in many:
        one.close()


class Crowd:
    """Clients with a connection each, which come at a rate and not when others have been answered."""

    def __init__(self, machine, most):
        host, port = machine.url.removeprefix("http://").split(":")
        self.address, self.most = (host, int(port)), most
        self.poll, self.open = select.epoll(), {}
        self.good, self.bad, self.waits = 0, 0, []

    def come(self, authid):
        if len(self.open) < self.most:
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(self.address)
            self.poll.register(one, select.EPOLLOUT)
            self.open[one.fileno()] = [one, authid, None]

    def look(self, patience=0.0):
        for number, _ in self.poll.poll(patience):
            one, authid, since = self.open[number]
            try:
                if since is None:
                    head = f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-AuthID: {authid}\r\n\r\n"
                    one.send(head.encode())
                    self.open[number][2] = time.monotonic()
                    self.poll.modify(one, select.EPOLLIN)
                    continue
                good = one.recv(65536).startswith(b"HTTP/1.1 200")
            except OSError:
                good = False
            self.good, self.bad = self.good + good, self.bad + (not good)
            self.waits.append(time.monotonic() - (since or time.monotonic()))
            self.leave(number)

    def leave(self, number):
        self.open.pop(number)[0].close()

    def run(self, authids, rate, seconds):
        """Returns how many good answers there were."""
        begun, came, good = time.monotonic(), 0, self.good
        while (passed := time.monotonic() - begun) < seconds:
            # What cannot be asked for in time is left out.
            due = min(int(passed * rate) - came, 100)
            came = int(passed * rate)
            for _ in range(due):
                self.come(next(authids))
            self.look(0.001)
        return self.good - good


def test_ten_times_what_the_processor_can_do_costs_nobody_his_answer_who_got_in(serve, apart, monkeypatch):
    monkeypatch.setenv("AUTHSEAL_PROVIDERS__EXAMPLE__TOKEN_URL", f"{apart}/token")
    here = sorted(os.sched_getaffinity(0))
    machine = serve(limits=lambda: os.sched_setaffinity(0, here[:1]))
    length, many = (30, 20_000) if os.environ.get("TESTS_FULL") else (4, 4_000)
    made = machine.authids(1)
    # When one comes again, what was remembered of it has ended.
    authids = itertools.cycle([next(made) for _ in range(many)])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500
    # As many at a time as keep it busy, and no more.
    crowd, before, began = Crowd(machine, most), used(machine), time.monotonic()
    while crowd.good < many // 10:
        while len(crowd.open) < 32:
            crowd.come(next(authids))
        crowd.look(0.1)
    best = crowd.good / (used(machine) - before)
    rate = crowd.good / (time.monotonic() - began)
    for number in list(crowd.open):
        crowd.leave(number)
    warm = of_process(machine, "VmRSS")

    crowd = Crowd(machine, most)
    crowd.run(authids, 10 * rate, 2)  # the first of them find nobody before them
    before = used(machine)
    served = crowd.run(authids, 10 * rate, length)
    goodput = served / (used(machine) - before) / best
    waits, asked, grown = sorted(crowd.waits), len(crowd.open) + len(crowd.waits), of_process(machine, "VmRSS") - warm
    held = len(os.listdir(f"/proc/{machine.process.pid}/fd"))
    for number in list(crowd.open):
        crowd.leave(number)
    again = seconds(lambda: machine.refresh(next(made))[0] == 200)
    print(
        f"{asked / (length + 2):.0f} clients a second where {rate:.0f} can be served: {100 * goodput:.0f} % of the good answers for "
        f"a second of its processor, {crowd.bad} others, the longest wait of who got in {waits[-1]:.1f} s, {held} are let in, {grown} KiB more; "
        f"when all have left the next one is served after {again:.2f} s"
    )
    # It lets in no more than it serves in some seconds, and serves those.
    assert crowd.bad < 0.01 * len(waits) and held < asked / 2 and grown < 100 * KIB
