"""What the tests of the operator's pages share: a machine with a server, a pretend provider, and a shell in which stand-ins
go before what is not on every machine."""

import os
import subprocess
import threading
from http.server import ThreadingHTTPServer

import pytest
from machine import BINARY, PATIENCE, Machine, Moody, Provider


@pytest.fixture(scope="session")
def provider():
    yield from serving(Provider)


@pytest.fixture
def moody():
    Moody.mood = None
    yield from serving(Moody)


def serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def machine(tmp_path, provider):
    """One machine with a keyring, whose server runs."""
    machine = Machine(tmp_path / "etc" / "authseal", provider)
    machine.authseal("keys", "new")
    yield machine.start()
    machine.stop()


@pytest.fixture
def tools(tmp_path):
    """A folder that goes before the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "authseal").symlink_to(BINARY)
    return folder


@pytest.fixture
def run(tools):
    """Runs blocks as one script; gives what it printed."""

    def run(blocks, **variables):
        text = "\n".join(blocks)
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", **variables}
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(command, env=environment, cwd=tools, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "authseal-key" not in done.stdout + done.stderr
        return done.stdout

    return run
