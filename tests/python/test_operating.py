"""The procedures of docs/operating.md, run as they stand there against real servers: each `sh` block of a section, in
bash, from top to bottom. Only the variables that the page declares at its top are set to something else.

What is not on every machine is pretended by short scripts on the PATH: rsync (machines are folders), kubectl and the
kubelet (a secret that is swapped into pods), systemd-creds and systemctl.
"""

import base64
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from authid_reader import LABEL, derive, read_secret
from Crypto.Cipher import ChaCha20_Poly1305

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "operating.md"
BINARY = Path(os.environ.get("TESTS_BIN") or ROOT / "target" / "debug" / "authseal").resolve()
PATIENCE = 60  # seconds for a procedure; all of them take moments
SERVICE = "exampledrive"
DAY = 24 * 60 * 60


def sections():
    """The `sh` blocks below each heading."""
    found, heading = {}, None
    for match in re.finditer(r"^#+ ([^\n]*)$|^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
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


class Provider(BaseHTTPRequestHandler):
    """A provider that always answers with an access token."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "an-access-token", "token_type": "bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def provider():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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
        text = (self.folder / "keys.toml").read_text()
        _, secret = read_secret(re.search(rf'"(authseal-key:{epoch}:[^"]*)"', text).group(1))
        key = derive(secret)
        grant, nonce, now = secrets.token_bytes(16), secrets.token_bytes(24), int(time.time())
        bind = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        content = {"token": "a-refresh-token", "sealed": now - login, "login": now - login, "bind": bind}
        cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
        cipher.update(LABEL + b"\0" + bytes([len(SERVICE)]) + SERVICE.encode() + epoch.to_bytes(4, "big") + grant)
        ciphertext, tag = cipher.encrypt_and_digest(json.dumps(content, separators=(",", ":")).encode())
        body = base64.urlsafe_b64encode(grant + nonce + ciphertext + tag).decode().rstrip("=")
        return f"v3:{SERVICE}:{epoch}:{body}"

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


def script(tools, name, text):
    (tools / name).write_text(f"#!/bin/bash\nset -euo pipefail\n{text}")
    (tools / name).chmod(0o755)


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


def test_the_page_declares_its_variables_before_anything_else():
    heading, blocks = next(iter(sections().items()))
    assert heading == "Operating" and len(blocks) == 1
    declared = re.findall(r"^([A-Z]+)=", blocks[0], re.MULTILINE)
    assert declared == ["FOLDER", "HOSTS", "REPLICAS", "CREDENTIAL", "BACKUP"]


def test_rotating_on_one_machine(machine, run):
    old = machine.authid(1)
    run(sections()["Rotating keys on one machine"], FOLDER=str(machine.folder))
    until(lambda: '"v2_authid"' in machine.refresh(old)[1])
    assert machine.works(machine.exchanged(old))
    assert machine.exchanged(old).startswith(f"v3:{SERVICE}:2:")


def test_rotating_on_several_machines(tmp_path, provider, tools, run):
    host = Machine(tmp_path / "etc" / "authseal", provider)
    host.authseal("keys", "new")
    machines = [Machine(tmp_path / name / "authseal", provider) for name in ("oauth1", "oauth2")]
    script(tools, "rsync", f'[[ $1 == --perms ]]\nto={tmp_path}/${{3%%:*}}/authseal\ncp -p "$2" "$to/aside"\nmv "$to/aside" "$to/keys.toml"\n')
    try:
        for machine in machines:
            shutil.copy(host.folder / "keys.toml", machine.folder)
            machine.start()
        replicas = " ".join(machine.admin for machine in machines)
        old = host.authid(1)
        run(sections()["Rotating keys on several machines"], FOLDER=str(host.folder), HOSTS="oauth1 oauth2", REPLICAS=replicas)
        assert [machine.seals() for machine in machines] == [2, 2]
        sealed_by_one = machines[0].exchanged(old)
        assert sealed_by_one.startswith(f"v3:{SERVICE}:2:") and machines[1].works(sealed_by_one)
        printed = run(sections()["Is an old key still in use?"], FOLDER=str(host.folder), REPLICAS=replicas)
        assert re.search(r"^1 +open .*  in use less than a minute ago$", printed, re.MULTILINE), printed
    finally:
        for machine in machines:
            machine.stop()


def test_rotating_in_kubernetes(tmp_path, provider, tools, run):
    pods = [Machine(tmp_path / name / "authseal", provider, 'keyring.file = "keys/keys.toml"') for name in ("pod1", "pod2")]
    host = Machine(tmp_path / "host", provider)
    host.authseal("keys", "new")
    secret = tmp_path / "secret"
    shutil.move(host.folder / "keys.toml", secret)
    # As the kubelet does it: a new folder, and one symlink that is swapped.
    mounted = " ".join(f"{pod.folder}/keys" for pod in pods)
    script(tools, "kubelet", f"""
for keys in {mounted}; do
    version=$(mktemp -d "$keys/..XXXX")
    install -m 0440 {secret} "$version/keys.toml"
    chmod 0550 "$version"
    ln -s "$(basename "$version")" "$keys/..data_tmp"
    mv -T "$keys/..data_tmp" "$keys/..data"
done
""")
    script(tools, "kubectl", f"""
case "$*" in
"get pods -l app=authseal -o jsonpath={{range .items[*]}}http://{{.status.podIP}}:9090 {{end}}") echo -n "{' '.join(pod.admin for pod in pods)} " ;;
"get secret authseal-keys -o go-template={{{{index .data \\"keys.toml\\" | base64decode}}}}") cat {secret} ;;
"create secret generic authseal-keys --from-file=keys.toml --dry-run=client -o yaml") base64 keys.toml ;;
"replace -f -") base64 -d > {secret}; kubelet ;;
*) echo "not pretended: $*" >&2; exit 1 ;;
esac
""")
    try:
        for pod in pods:
            (pod.folder / "keys").mkdir()
            (pod.folder / "keys" / "keys.toml").symlink_to("..data/keys.toml")
        subprocess.run([tools / "kubelet"], check=True)
        for pod in pods:
            pod.start()
        run(sections()["Rotating keys in Kubernetes"])
        assert [pod.seals() for pod in pods] == [2, 2]
        assert secret.read_text().startswith("# The keys that") and "primary = 2\n" in secret.read_text()
    finally:
        for pod in pods:
            pod.stop()


def test_rotating_with_systemd_credentials(tmp_path, provider, tools, run):
    machine = Machine(tmp_path / "etc" / "authseal", provider)
    machine.authseal("keys", "new")
    credential, loaded, pid = tmp_path / "keys.toml", tmp_path / "credentials", tmp_path / "pid"
    script(tools, "systemd-creds", 'case $1 in\nencrypt) base64 "$2" > "$3" ;;\ndecrypt) base64 -d "$2" > "$3" ;;\nesac\n')
    # A service's own, read-only copy of its credentials, made at its start.
    script(tools, "systemctl", f"""
[[ $* == "restart authseal" ]]
if [[ -e {pid} ]]; then
    kill "$(<{pid})"
    while kill -0 "$(<{pid})" 2>/dev/null; do sleep 0.05; done
fi
rm -rf {loaded}
mkdir -m 0700 {loaded}
base64 -d {credential} > {loaded}/keys.toml
chmod 0400 {loaded}/keys.toml
chmod 0500 {loaded}
cd {machine.folder}
AUTHSEAL_KEYRING__FILE={loaded}/keys.toml setsid authseal serve < /dev/null > /dev/null 2>> {tmp_path}/log &
echo $! > {pid}
""")
    old = machine.authid(1)
    credential.write_bytes(base64.b64encode((machine.folder / "keys.toml").read_bytes()))
    (machine.folder / "keys.toml").unlink()
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    try:
        subprocess.run([tools / "systemctl", "restart", "authseal"], check=True, env=environment)
        machine.wait()
        run(sections()["Rotating keys with systemd credentials"], CREDENTIAL=str(credential), REPLICAS=machine.admin)
        machine.wait()
        assert machine.seals() == 2
        assert machine.exchanged(old).startswith(f"v3:{SERVICE}:2:")
    finally:
        os.kill(int(pid.read_text()), 15)


def test_ending_an_old_epoch(machine, run):
    old = machine.authid(1)
    machine.authseal("keys", "stage")
    machine.authseal("keys", "promote", "--alone")
    until(lambda: machine.seals() == 2)
    new = machine.exchanged(old)
    run(sections()["Ending an old epoch"], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(old)[0] == 401)
    assert machine.works(new)


def test_a_leaked_key_that_is_the_primary(machine, run):
    stolen = machine.authid(1)
    assert machine.works(stolen)
    # The last block is for a key that was no longer the primary.
    run(sections()["A leaked key"][:2], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(stolen)[0] == 401)
    until(lambda: machine.seals() == 2)
    assert machine.works(machine.authid(2))


def test_a_leaked_key_whose_authids_were_sealed_anew(machine, run):
    old = machine.authid(1, login=300 * DAY)
    machine.authseal("keys", "stage")
    machine.authseal("keys", "promote", "--alone")
    until(lambda: machine.seals() == 2)
    anew = machine.exchanged(old)
    assert anew.startswith(f"v3:{SERVICE}:2:") and machine.works(anew)
    after = machine.authid(2)
    deny, rotate, deny_anew = sections()["A leaked key"]
    run([deny, rotate], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(old)[0] == 401)
    assert machine.works(anew), "as the page says, the epoch's rule does not cover it"
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - DAY))
    deny_anew, changed = re.subn(r"^PROMOTED=\S+", f"PROMOTED={yesterday}", deny_anew, flags=re.MULTILINE)
    assert changed == 1
    run([deny_anew], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(anew)[0] == 401)
    assert machine.works(after), "a login of after the promotion was never under the leaked key"
    until(lambda: machine.seals() == 3)


def test_a_lost_keyring(machine, run):
    machine.authseal("keys", "stage")
    machine.authseal("keys", "promote", "--alone")
    until(lambda: machine.seals() == 2)
    old = [machine.authid(1), machine.authid(2)]
    (machine.folder / "keys.toml").unlink()
    assert all(map(machine.works, old)), "a running server goes on with what it has"
    run(sections()["The keyring is lost"], FOLDER=str(machine.folder))
    until(lambda: machine.seals() == 8)
    assert [machine.refresh(authid)[0] for authid in old] == [401, 401]
    assert machine.works(machine.authid(8))


def test_making_a_backup_and_restoring_it(machine, run, tmp_path):
    kept, revoked = machine.authid(1), machine.authid(1)
    ask(f"{machine.url}/revoked", {"X-AuthID": revoked}, b"")
    assert machine.refresh(revoked)[0] == 401
    places = {"FOLDER": str(machine.folder), "BACKUP": str(tmp_path / "safe")}
    run(sections()["Making a backup"], **places)
    assert (tmp_path / "safe").stat().st_mode & 0o077 == 0
    machine.stop()
    for file in machine.folder.iterdir():
        file.unlink()
    assert "1           primary" in run(sections()["Restoring from a backup"], **places)
    machine.start()
    assert machine.works(kept)
    assert machine.refresh(revoked)[0] == 401


def test_every_block_is_run():
    source = Path(__file__).read_text()
    left = [heading for heading in list(sections())[1:] if f'sections()["{heading}"]' not in source]
    assert not left, f"no test runs the blocks below {left}"
