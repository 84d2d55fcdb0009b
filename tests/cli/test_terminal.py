"""What is different on a terminal: its end, colours, and JSON for a person."""

import os
import signal
import subprocess

import pytest
from terminal import BINARY, PATIENCE, Terminal

CONFIG = """public_url = "https://oauth.example.com"
listen = ["127.0.0.1:0"]
server.drain_seconds = 0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "authseal.toml").write_text(CONFIG)
    for command in [["keys", "new"], ["denylist", "init"]]:
        subprocess.run([BINARY, *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("terminal", [("stdin", "stderr"), ("stdin",), ("stderr",)], ids=" and ".join)
def test_closing_the_terminal_ends_the_server_that_runs_on_it(folder, terminal):
    log = folder / "log"
    with log.open("w") as file:
        elsewhere = {"stdin": subprocess.DEVNULL, "stderr": file, "stdout": subprocess.DEVNULL}
        streams = {name: stream for name, stream in elsewhere.items() if name not in terminal}
        server = Terminal(folder, "serve", **streams)
    if "stderr" in terminal:
        server.read("listening")
    else:
        while "listening" not in log.read_text():
            assert server.process.poll() is None, log.read_text()
    server.process.send_signal(signal.SIGHUP)
    os.close(server.master)
    assert server.process.wait(PATIENCE) == 0


def test_closing_the_terminal_ends_the_demo_whatever_its_streams_are(tmp_path):
    demo = subprocess.Popen(
        [BINARY, "demo", "--listen", "127.0.0.1:0"],
        env={"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert "authseal demo" in demo.stdout.readline()
    while "Ctrl+C" not in demo.stdout.readline():
        assert demo.poll() is None
    demo.send_signal(signal.SIGHUP)
    assert demo.wait(PATIENCE) == 0


def test_without_a_terminal_sighup_reads_all_files_again(folder):
    server = subprocess.Popen(
        [BINARY, "serve"], cwd=folder, env={}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while "listening" not in server.stderr.readline():
            assert server.poll() is None
        server.send_signal(signal.SIGHUP)
        assert "reading all files again" in server.stderr.readline()
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
        ({"CLICOLOR": "0"}, False),
    ],
)
def test_colours_are_as_the_variables_say(folder, env, coloured):
    server = Terminal(folder, "serve", env=env)
    server.read("listening")
    server.process.send_signal(signal.SIGINT)
    assert server.end() == 0
    assert ("\x1b[" in server.raw) == coloured, server.raw


def test_colours_can_be_forced_where_there_is_no_terminal(folder):
    (folder / "authseal.toml").write_text(CONFIG + 'log.format = "pretty"\n')
    for env, coloured in [({}, False), ({"CLICOLOR_FORCE": "1"}, True), ({"CLICOLOR_FORCE": "0"}, False)]:
        server = subprocess.Popen([BINARY, "serve"], cwd=folder, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = server.stderr.readline()
        server.kill()
        server.wait()
        assert (b"\x1b[" in line) == coloured, line


@pytest.mark.parametrize("command", [["check"], ["providers"], ["config", "show"], ["keys", "list"], ["denylist", "check"]])
def test_a_person_gets_json_on_many_lines(folder, command):
    terminal = Terminal(folder, *command, "--json", stderr=subprocess.DEVNULL)
    assert terminal.end() == 0, terminal.shown
    assert len(terminal.shown.splitlines()) > 5, terminal.shown
