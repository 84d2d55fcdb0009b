"""The binary on a terminal of its own, for tests that answer as a person does."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BINARY = Path(os.environ.get("TESTS_BIN") or ROOT / "target" / "debug" / "authseal").resolve()
PATIENCE = 30  # seconds for each question


class Terminal:
    """The binary on a terminal of its own."""

    def __init__(self, folder, *arguments, env=None, **streams):
        """Each of stdin, stdout and stderr is the terminal unless it is given."""
        self.master, slave = pty.openpty()
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, **streams}
        env = {"PATH": os.environ["PATH"], **(env or {})}
        self.process = subprocess.Popen([BINARY, *arguments], cwd=folder, env=env, **streams)
        os.close(slave)
        self.shown, self.raw, self.at = "", "", 0

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
                self.raw += chunk.decode(errors="replace")
                self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", chunk.decode(errors="replace"))
        self.at = self.shown.index(until, self.at) + len(until)

    def answer(self, question, keys):
        self.read(question)
        os.write(self.master, keys.encode())

    def answer_unseen(self, question, keys):
        """The same where what is typed is not shown: from the moment on at which the terminal no longer shows it."""
        self.read(question)
        end = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.master)[3] & termios.ECHO:
            assert time.monotonic() < end, self.shown
        os.write(self.master, keys.encode())

    def end(self):
        self.read(None)
        os.close(self.master)
        return self.process.wait(PATIENCE)
