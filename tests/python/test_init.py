"""The questions of `authseal init`, answered on a terminal as a person does."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BINARY = Path(os.environ.get("TESTS_BIN") or ROOT / "target" / "debug" / "authseal").resolve()
PATIENCE = 30  # seconds for each question


class Terminal:
    """The binary on a terminal of its own."""

    def __init__(self, folder, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([BINARY, *arguments], cwd=folder, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown, self.at = "", 0

    def read(self, until):
        """Reads until these words are shown after all that was read before, or to the end for None."""
        end = time.monotonic() + PATIENCE
        while until is None or until not in self.shown[self.at :]:
            assert time.monotonic() < end, f"no {until!r} in {self.shown!r}"
            if select.select([self.master], [], [], 1)[0]:
                try:
                    chunk = os.read(self.master, 4096)
                except OSError:  # how a terminal says that the other side has gone
                    chunk = b""
                if not chunk:
                    assert until is None, f"no {until!r} in {self.shown!r}"
                    return
                self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", chunk.decode(errors="replace"))
        self.at = self.shown.index(until, self.at) + len(until)

    def answer(self, question, keys):
        self.read(question)
        os.write(self.master, keys.encode())

    def end(self):
        self.read(None)
        os.close(self.master)
        return self.process.wait(PATIENCE)


def test_it_asks_for_everything_and_a_secret_is_not_shown(tmp_path):
    terminal = Terminal(tmp_path, "init")
    terminal.answer("Folder for the files", "etc\r")
    terminal.answer("What browsers see", "oauth.example.com\r")  # is asked again
    terminal.read("like https://oauth.example.com")
    terminal.answer("What browsers see", "https://oauth.example.com\r")
    # box, dropbox, google: down twice, chosen.
    terminal.answer("Providers (space chooses", "jj \r")
    terminal.answer("State store", "\r")
    terminal.read("https://oauth.example.com/logged-in")
    terminal.answer("Client id", "1234.apps\r")
    terminal.answer("Client secret", "hush hush\r")
    assert terminal.end() == 0, terminal.shown
    assert "hush" not in terminal.shown
    secret = tmp_path / "etc" / "google-secret"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hush hush\n", 0o600)
    check = subprocess.run(
        [BINARY, "check", "--config", "etc/authseal.toml"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "\noffered: gcs, googledrive, googledocs\n" in check.stdout


def test_what_flags_say_is_not_asked(tmp_path):
    arguments = ["--dir", "etc", "--public-url", "https://oauth.example.com", "--provider", "google", "--store", "memory"]
    terminal = Terminal(tmp_path, "init", *arguments)
    terminal.answer("Client id", "\r")
    assert terminal.end() == 0, terminal.shown
    assert "Folder" not in terminal.shown and "Client secret" not in terminal.shown
    assert "put the client id into [clients.google]" in terminal.shown


def test_with_yes_nothing_is_asked(tmp_path):
    terminal = Terminal(tmp_path, "init", "--dir", "etc", "--public-url", "https://oauth.example.com", "--yes")
    assert terminal.end() == 0, terminal.shown
    assert (tmp_path / "etc" / "keys.toml").exists()
