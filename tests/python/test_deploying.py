"""docs/deploying.md and what it hands out: its `sh` blocks run as they stand, with stand-ins for what changes a machine
or asks the internet; the unit as systemd rates it; the compose file and the Containerfile against the binary.
"""

import os
import re
import shutil
import socket
import ssl
import subprocess

import pytest
import yaml
from machine import BINARY, ROOT, address, ask, blocks_by_section, pretend_system, script, status, until
from test_proxies import make_certificate

NAME = "oauth.example.com"
HERE = f"cd {ROOT}"  # as the page says
UNIT = ROOT / "config" / "systemd" / "authseal.service"


def sections():
    return blocks_by_section(ROOT / "docs" / "deploying.md")


@pytest.fixture
def server(tmp_path, tools):
    """A machine on which systemd runs authseal, pretended; gives its folders and where it listens."""
    host, port = address()
    place = {
        "ETC": tmp_path / "etc", "STATE": tmp_path / "state", "UNITS": tmp_path / "units", "DOMAIN": NAME,
        "host": host, "port": port,
    }
    for folder in ("UNITS", "STATE"):
        place[folder].mkdir()
    pretend_system(tools)
    pid = tmp_path / "pid"
    # The unit's own command. What `init` writes is for port 8080, which this machine may use for something else.
    script(tools, "systemctl", f"""
start() {{
    command=$(sed -n 's/^ExecStart=//p' "{place['UNITS']}/authseal.service")
    command=${{command//\\/etc\\/authseal/{place['ETC']}}}
    setsid ${{command#/usr/local/bin/}} < /dev/null > {tmp_path}/journal 2>&1 &
    echo $! > {pid}
}}
export AUTHSEAL_ADMIN__LISTEN={host}:{address()[1]}
case "$*" in
daemon-reload) ;;
"enable --now authseal") AUTHSEAL_LISTEN={host}:{port} start ;;
"restart authseal")
    kill "$(< {pid})"
    while kill -0 "$(< {pid})" 2>/dev/null; do sleep 0.05; done
    start ;;
*) exit 1 ;;
esac
""")
    yield place
    if pid.exists():
        os.kill(int(pid.read_text()), 15)


def variables(place):
    return {name: str(value) for name, value in place.items() if name.isupper()}


def test_the_page_declares_its_variables_before_anything_else():
    heading, blocks = next(iter(sections().items()))
    assert heading == "Deploying"
    assert re.findall(r"^([A-Z]+)=", blocks[0], re.MULTILINE) == ["DOMAIN", "ETC", "STATE", "UNITS"]


def test_a_service_of_systemd(server, run):
    service, credentials = sections()["systemd"]
    run([HERE, service], **variables(server))
    until(lambda: status(f"http://{server['host']}:{server['port']}/readyz") == 200)
    assert (server["ETC"] / "keys.toml").stat().st_mode & 0o077 == 0
    run([HERE, credentials], **variables(server))
    drop_in = (server["UNITS"] / "authseal.service.d" / "credentials.conf").read_text()
    # Each credential is the file of a key that there is.
    files = dict(re.findall(r"^LoadCredential=([^:]+):(/etc/authseal/\S+)$", drop_in, re.MULTILINE))
    keys = dict(re.findall(r"^Environment=(AUTHSEAL_\w+)=%d/(\S+)$", drop_in, re.MULTILINE))
    assert files.keys() == set(keys.values()) and len(keys) > 1
    (server["ETC"] / "google-secret").write_text("a secret\n")
    given = {key: str(server["ETC"] / name) for key, name in keys.items()}
    done = subprocess.run(
        [BINARY, "check", "--config", server["ETC"] / "authseal.toml"],
        env={**os.environ, **given, "AUTHSEAL_CLIENTS__GOOGLE__ID": "1"}, capture_output=True, text=True,
    )
    assert done.returncode == 0 and "offered: gcs, googledrive" in done.stdout, done


def certificate_of(place, port):
    """The certificate that is served, in PEM."""
    trust_all = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust_all.check_hostname, trust_all.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((place["host"], port)) as raw, trust_all.wrap_socket(raw, server_hostname=NAME) as tls:
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_of_its_own(server, tools, run, tmp_path):
    begin, trust = sections()["TLS of its own"]
    run([HERE, sections()["systemd"][0], begin], **variables(server))
    https, http = address()[1], address()[1]
    config = server["ETC"] / "authseal.toml"
    section = (ROOT / "docs" / "deploying.md").read_text().split("## TLS of its own")[1]
    lines = re.search(r"^```toml\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
    for what, here in (
        ('["0.0.0.0:443", "[::]:443"]', f'["{server["host"]}:{https}"]'),
        ('["0.0.0.0:80", "[::]:80"]', f'["{server["host"]}:{http}"]'),
        ("/var/lib/authseal", str(server["STATE"])),
    ):
        assert what in lines
        lines = lines.replace(what, here)
    written = re.sub(r"^listen = \[\"127.0.0.1:8080\"\]\n", lines.split("[tls]")[0], config.read_text(), count=1, flags=re.MULTILINE)
    written, count = re.subn(r"^\[server\]\n(#.*\n)*trusted_proxies = .*\n", lines[lines.index("[tls]"):], written, flags=re.MULTILINE)
    assert count == 1, written
    config.write_text(written)
    renewed = make_certificate(tmp_path / "live", NAME)
    hooks = tmp_path / "letsencrypt" / "renewal-hooks" / "deploy"
    hooks.mkdir(parents=True)
    # As certbot does it: what it puts into the folder has to be seen from outside, and then the hooks are run.
    script(tools, "certbot", f"""
[[ $* == *"--webroot --webroot-path {server['STATE']}/web "* && $* == *"--domain {NAME}"* ]]
echo proof > {server['STATE']}/web/.well-known/acme-challenge/a-token
for attempt in {{1..100}}; do
    seen=$(curl -fsS -H 'Host: {NAME}' http://{server['host']}:{http}/.well-known/acme-challenge/a-token 2>/dev/null) && break
    sleep 0.05
done
[[ $seen == proof ]]
for hook in {hooks}/*; do RENEWED_LINEAGE={renewed} "$hook"; done
""")
    run([trust.replace("/etc/letsencrypt", str(tmp_path / "letsencrypt"))], **variables(server))
    until(lambda: certificate_of(server, https) == (renewed / "fullchain.pem").read_text())
    assert ask(f"http://{server['host']}:{http}/healthz")[0] == 200


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_rated_as_the_page_says():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=14", UNIT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-300:]
    rate = re.search(r"Overall exposure level for authseal.service: (\S+)", done.stdout)[1]
    assert f"rates that at {rate} of 10" in " ".join((ROOT / "docs" / "deploying.md").read_text().split())


def test_the_compose_file_fits_the_program_and_the_balancer(tmp_path):
    compose = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())
    services = compose["services"]
    replicas = [service for name, service in services.items() if name.startswith("authseal")]
    assert len(replicas) == 2
    for replica in replicas:
        assert replica["read_only"] and replica["cap_drop"] == ["ALL"] and "ports" not in replica
        balancer = services["balancer"]["networks"]["inside"]["ipv4_address"]
        assert replica["environment"]["AUTHSEAL_SERVER__TRUSTED_PROXIES"] == balancer
        # Only the balancer is where it is listened for what comes from there.
        assert set(replica["networks"]) & set(services["balancer"]["networks"]) == {"inside"}
        given = {key: re.sub(r"\$\{AUTHSEAL_NAME:.*?\}", NAME, value) for key, value in replica["environment"].items()}
        for verb in (["keys", "new"], ["denylist", "init"]):
            subprocess.run([BINARY, *verb], cwd=tmp_path, capture_output=True)
        done = subprocess.run([BINARY, "check"], cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True)
        assert done.returncode == 0 and f"https://{NAME}/logged-in" in done.stdout, done
    caddyfile = (ROOT / "config" / "proxies" / "Caddyfile").read_text()
    for variable in services["balancer"]["environment"]:
        assert f"{{${variable}:" in caddyfile
    for name in re.findall(r"(\w+):8080", services["balancer"]["environment"]["AUTHSEAL_REPLICAS"]):
        assert name in services


def test_the_commands_in_the_containerfile_are_known():
    text = (ROOT / "Containerfile").read_text()
    verbs = [*re.findall(r'^CMD \["(\w+)"\]', text, re.MULTILINE), *re.findall(r'CMD \["/authseal", "(\w+)"\]', text)]
    assert sorted(verbs) == ["healthcheck", "serve"]
    for verb in verbs:
        assert subprocess.run([BINARY, verb, "--help"], capture_output=True).returncode == 0
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert f'org.opencontainers.image.version="{version}"' in text


def test_the_image_runs(tmp_path):
    """The last stage, around a static binary that TESTS_STATIC names: building one takes minutes."""
    static = os.environ.get("TESTS_STATIC")
    if not static or shutil.which("buildah") is None:
        pytest.skip("TESTS_STATIC names no static binary, or buildah is not installed")
    (tmp_path / "bin").mkdir()
    shutil.copy(static, tmp_path / "bin" / "authseal")
    image, (host, port) = "localhost/authseal-test", address()
    options = ["--build-context", f"build={tmp_path}/bin", "-t", image, "-f", "Containerfile", "."]
    subprocess.run(["buildah", "build", "--format", "docker", "--isolation", "chroot", *options], cwd=ROOT, check=True)
    folder = tmp_path / "authseal"
    subprocess.run([BINARY, "init", "--dir", folder, "--public-url", f"https://{NAME}", "--yes"], check=True)
    if os.geteuid() == 0:
        for path in [folder, *folder.iterdir()]:
            os.chown(path, 65532, 65532)
    container = subprocess.run(["buildah", "from", image], check=True, capture_output=True, text=True).stdout.strip()
    inside = ["buildah", "run", "--isolation", "chroot", "-v", f"{folder}:/etc/authseal", "-e", f"AUTHSEAL_LISTEN={host}:{port}"]
    inside += ["-e", f"AUTHSEAL_ADMIN__LISTEN={host}:{address()[1]}", container, "/authseal"]
    server = subprocess.Popen([*inside, "serve"])
    try:
        until(lambda: status(f"http://{host}:{port}/readyz") == 200)
        assert subprocess.run([*inside, "healthcheck"]).returncode == 0
        users = subprocess.run(["ps", "-eo", "uid,args"], check=True, capture_output=True, text=True).stdout
        assert re.search(r"^ *65532 /authseal serve$", users, re.MULTILINE), users
    finally:
        subprocess.run(["pkill", "-TERM", "-f", "^/authseal serve$"])
        server.wait(60)
        subprocess.run(["buildah", "rm", container])
        subprocess.run(["buildah", "rmi", image])


def test_every_block_is_run():
    assert list(sections())[1:] == ["systemd", "TLS of its own"]
