"""docs/deploying.md and what it hands out: its `sh` blocks run as they are, with stand-ins for what changes a machine
or asks the internet; the unit as systemd rates it; the compose file and the Containerfile against the binary.
"""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from certificate import make_certificate
from machine import BINARY, PATIENCE, ROOT, address, ask, blocks_by_section, pretend_system, script, status, until
from test_proxies import replaced

NAME = "oauth.example.com"
HERE = f"cd {ROOT}"  # as the page says
UNIT = ROOT / "config" / "systemd" / "authseal.service"
USER = 65532  # the container's
BUILD_PATIENCE = 1800  # seconds for a release build of everything, on a small machine
has_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def sections():
    return blocks_by_section(ROOT / "docs" / "deploying.md")


@pytest.fixture
def server(tmp_path, tools):
    """A machine on which systemd runs authseal, pretended; gives its folders and where it listens."""
    host, port = address()
    place = {
        "ETC": tmp_path / "etc", "STATE": tmp_path / "state", "UNITS": tmp_path / "units", "WEB": tmp_path / "web", "DOMAIN": NAME,
        "host": host, "port": port,
    }
    for folder in ("UNITS", "STATE"):
        place[folder].mkdir()
    pretend_system(tools)
    pid = tmp_path / "pid"
    # The unit's own command. What `init` writes is for port 8080, which this machine may use for something else.
    script(tools, "systemctl", f"""
stop() {{
    kill "$(< {pid})"
    while kill -0 "$(< {pid})" 2>/dev/null; do sleep 0.05; done
}}
start() {{
    command=$(sed -n 's/^ExecStart=//p' "{place['UNITS']}/authseal.service")
    command=${{command//\\/etc\\/authseal/{place['ETC']}}}
    setsid ${{command#/usr/local/bin/}} < /dev/null > {tmp_path}/journal 2>&1 &
    echo $! > {pid}
}}
export AUTHSEAL_SERVER__DRAIN_SECONDS=0 AUTHSEAL_ADMIN__LISTEN={host}:{address()[1]}
case "$*" in
daemon-reload) ;;
"enable --now authseal") AUTHSEAL_LISTEN={host}:{port} start ;;
"enable --now authseal.socket") grep -q '^FileDescriptorName=public$' "{place['UNITS']}/authseal.socket" ;;
"stop authseal") stop ;;
"start authseal") start ;;
"restart authseal")
    stop
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
    assert re.findall(r"^([A-Z]+)=", blocks[0], re.MULTILINE) == ["DOMAIN", "ETC", "STATE", "UNITS", "WEB", "VOLUME", "ENGINE"]


def test_a_service_of_systemd(server, run):
    service, sockets, credentials = sections()["systemd"]
    run([HERE, service], **variables(server))
    until(lambda: status(f"http://{server['host']}:{server['port']}/readyz") == 200)
    assert (server["ETC"] / "keys.toml").stat().st_mode & 0o777 == 0o640
    run([HERE, sockets], **variables(server), AUTHSEAL_LISTEN=f"{server['host']}:{server['port']}")
    until(lambda: status(f"http://{server['host']}:{server['port']}/readyz") == 200)
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


SERVICE_USER = 54_321  # what `authseal` is called by number, where there may be no such user
as_service = ["setpriv", f"--reuid={SERVICE_USER}", f"--regid={SERVICE_USER}", "--clear-groups"]


@pytest.fixture
def two_users(tools):
    """Folders in which root and the service's user are really two; gives them, and a program for the second."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("not root, or no setpriv: there is no second user")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        binary = folder / "authseal"
        shutil.copy(BINARY, binary)
        place = {"ETC": folder / "etc", "STATE": folder / "state", "UNITS": folder, "DOMAIN": NAME}
        pretend_system(tools)
        for name in ("install", "chown"):
            script(tools, name, f"""
arguments=()
for word in "$@"; do
    case $word in
    authseal | *:authseal) word=${{word//authseal/{SERVICE_USER}}} ;;
    esac
    arguments+=("$word")
done
exec {shutil.which(name)} "${{arguments[@]}}"
""")
        script(tools, "systemctl", "exit 0\n")
        yield place, binary


def by_service(*command):
    return subprocess.run([*as_service, *command], capture_output=True, text=True, timeout=PATIENCE)


def no_way_into(etc):
    """Whether the service's user can change nothing of the configuration, and leave nothing in its folder."""
    before = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in [etc, *etc.rglob("*")]}
    config = etc / "authseal.toml"
    for command in (
        ["sh", "-c", f"echo >> {config}"], ["sh", "-c", f"> {etc}/keys.toml"], ["touch", etc / "new"], ["mkdir", etc / "new"],
        ["mv", config, etc / "old"], ["mv", etc / "tls", etc / "old"], ["rm", "-f", etc / "keys.toml"], ["chmod", "o+w", config],
        ["ln", "-s", "/etc/shadow", etc / "keys.toml.lock"], ["ln", "-sf", "/etc/shadow", etc / "keys.toml"],
        ["ln", config, etc / "link"], ["mv", etc, etc.parent / "moved"], ["touch", etc / "tls" / "new"],
    ):
        assert by_service(*command).returncode != 0, command
    return before == {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in [etc, *etc.rglob("*")]}


def works_for_both(place, binary):
    """Whether the service finds its configuration good, and it and root both revoke."""
    config = ["--config", place["ETC"] / "authseal.toml"]
    checked = by_service(binary, "check", *config)
    assert checked.returncode == 0 and "can write to" not in checked.stdout, checked
    assert "can write to" not in subprocess.run([binary, "check", *config], capture_output=True, text=True).stdout
    # Root first: what it makes must not be in the service's way.
    for command, epoch in (([], 8), (as_service, 9)):
        done = subprocess.run([*command, binary, "denylist", "add", "epoch", str(epoch), *config], capture_output=True, text=True)
        assert done.returncode == 0, done
    owners = {path.stat().st_uid for path in place["STATE"].iterdir()}
    return owners == {SERVICE_USER} and {path.stat().st_uid for path in place["ETC"].rglob("*")} == {0}


def test_the_services_user_cannot_change_its_configuration(two_users, run):
    place, binary = two_users
    run([HERE, sections()["systemd"][0]], **variables(place))
    run([HERE, sections()["With certbot"][0]], **variables(place), WEB=str(place["UNITS"] / "web"))
    assert no_way_into(place["ETC"])
    assert works_for_both(place, binary)


def test_giving_the_configuration_to_root(two_users, run):
    place, binary = two_users
    etc, state = place["ETC"], place["STATE"]
    # As it was before.
    for folder in (etc, state):
        folder.mkdir(0o750)
    subprocess.run([binary, "init", "--dir", etc, "--public-url", f"https://{NAME}", "--yes"], check=True, capture_output=True)
    (etc / "tls").mkdir()
    (etc / "denylist.lock").touch()
    for path in [etc, state, *etc.rglob("*")]:
        os.chown(path, SERVICE_USER, SERVICE_USER)
    config = ["--config", etc / "authseal.toml"]
    for command in ([], as_service):
        warned = subprocess.run([*command, binary, "check", *config], capture_output=True, text=True)
        assert warned.returncode == 0 and f"warning: user {SERVICE_USER} can write to {etc}: " in warned.stdout, warned
    subprocess.run([*as_service, binary, "denylist", "add", "epoch", "7", *config], check=True, capture_output=True)
    run([HERE, *sections()["Giving the configuration to root"]], **variables(place))
    assert no_way_into(etc)
    assert works_for_both(place, binary)
    assert re.findall(r"^epoch (\d)", (state / "denylist").read_text(), re.MULTILINE) == ["7", "8", "9"]


def certificate_of(place, port):
    """The certificate that is served, in PEM."""
    trust_all = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust_all.check_hostname, trust_all.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((place["host"], port)) as raw, trust_all.wrap_socket(raw, server_hostname=NAME) as tls:
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_of_its_own(server, tools, run, tmp_path):
    begin, trust = sections()["With certbot"]
    run([HERE, sections()["systemd"][0], begin], **variables(server))
    https, http = address()[1], address()[1]
    config = server["ETC"] / "authseal.toml"
    section = (ROOT / "docs" / "deploying.md").read_text().split("### With certbot")[1]
    lines = re.search(r"^```toml\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
    for what, here in (
        ('["0.0.0.0:443", "[::]:443"]', f'["{server["host"]}:{https}"]'),
        ('["0.0.0.0:80", "[::]:80"]', f'["{server["host"]}:{http}"]'),
        ("/var/www/authseal", str(server["WEB"])),
    ):
        assert what in lines
        lines = lines.replace(what, here)
    written = re.sub(r"^listen = \[\"127.0.0.1:8080\"\]\n", lines.split("[tls]")[0], config.read_text(), count=1, flags=re.MULTILINE)
    written, count = re.subn(r"^\[server\]\n(#.*\n)*trusted_proxies = .*\n", lines[lines.index("[tls]"):], written, flags=re.MULTILINE)
    assert count == 1, written
    config.write_text(written)
    renewed = make_certificate(tmp_path / "live", NAME)
    hooks = tmp_path / "letsencrypt" / "renewal-hooks" / "deploy"
    # As certbot does it: what it puts into the folder has to be seen from outside, and then the hook that was named is
    # run. Those in the folder are run by `renew` alone.
    script(tools, "certbot", f"""
[[ $* == *"--webroot --webroot-path {server['WEB']} "* && $* == *"--domain {NAME}"* ]]
echo proof > {server['WEB']}/.well-known/acme-challenge/a-token
for attempt in {{1..100}}; do
    seen=$(curl -fsS -H 'Host: {NAME}' http://{server['host']}:{http}/.well-known/acme-challenge/a-token 2>/dev/null) && break
    sleep 0.05
done
[[ $seen == proof ]]
[[ $* =~ --deploy-hook\\ ([^ ]+) && ${{BASH_REMATCH[1]}} == {hooks}/* ]]
RENEWED_LINEAGE={renewed} "${{BASH_REMATCH[1]}}"
""")
    run([trust.replace("/etc/letsencrypt", str(tmp_path / "letsencrypt"))], **variables(server))
    until(lambda: certificate_of(server, https) == (renewed / "fullchain.pem").read_text())
    assert ask(f"http://{server['host']}:{http}/healthz")[0] == 200


def units_with(folder, *drop_ins):
    """A root folder with the unit and some of the files beside it. Its command is one that is there."""
    units = folder / "etc" / "systemd" / "system"
    (units / "authseal.service.d").mkdir(parents=True)
    text = replaced(UNIT.read_text(), ("/usr/local/bin/authseal", str(BINARY)))
    (units / "authseal.service").write_text(text)
    for name in drop_ins:
        shutil.copy(UNIT.parent / name, units / "authseal.service.d")
    shutil.copy(UNIT.with_suffix(".socket"), units)
    return units


@has_systemd_analyze
@pytest.mark.parametrize(("drop_ins", "tenths"), [([], 14), (["credentials.conf"], 14), (["tls.conf"], 17)])
def test_the_unit_is_rated_as_the_page_says(tmp_path, drop_ins, tenths):
    units_with(tmp_path, *drop_ins)
    command = ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", f"--threshold={tenths}"]
    done = subprocess.run([*command, "authseal.service"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    rate = re.search(r"Overall exposure level for authseal.service: (\S+)", done.stdout)[1]
    page = " ".join((ROOT / "docs" / "deploying.md").read_text().split())
    assert drop_ins or f"rates that at {rate} of 10" in page


def test_the_unit_lets_the_service_see_which_start_of_the_machine_it_is():
    assert '"/proc/sys/' in (ROOT / "src" / "tokens" / "rotation" / "stamp.rs").read_text()
    assert not re.search(r"^(ProcSubset=pid|InaccessiblePaths=)", UNIT.read_text(), re.MULTILINE)


@has_systemd_analyze
def test_systemd_knows_every_line_of_the_unit_and_of_the_files_beside_it(tmp_path):
    units = units_with(tmp_path, "credentials.conf", "tls.conf")
    command = ["systemd-analyze", "verify", "--man=no", "authseal.service", "authseal.socket"]
    done = subprocess.run(command, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}, capture_output=True, text=True)
    # It is content with a line that it does not know, and says so; the one that systemd before 253 does not know is expected.
    version = int(re.match(r"systemd (\d+)", subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout)[1])
    said = [line for line in done.stderr.splitlines() if version >= 253 or "ignoring: notify-reload" not in line]
    assert not any(str(units) in line or "authseal." in line for line in said), done.stderr


@pytest.mark.parametrize("name", ["compose.single.yaml", "compose.yaml"])
def test_a_compose_file_is_well_formed_and_says_what_is_healthy(name):
    file = ROOT / "config" / name
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    services = yaml.safe_load(file.read_text())["services"]
    for service in services.values():
        others = service.get("depends_on", {})
        assert all(others[other] == {"condition": "service_healthy"} and services[other]["healthcheck"] for other in others)
        # As the image has it, for engines whose format of images has none.
        if service["image"] == "authseal":
            check = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", (ROOT / "Containerfile").read_text(), re.MULTILINE)[1]
            assert service["healthcheck"]["test"] == ["CMD", *json.loads(check)]


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
        given = {key: re.sub(r"\$\{DOMAIN:.*?\}", NAME, value) for key, value in replica["environment"].items()}
        for verb in (["keys", "new"], ["denylist", "init"]):
            subprocess.run([BINARY, *verb], cwd=tmp_path, capture_output=True)
        done = subprocess.run([BINARY, "check"], cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True)
        assert done.returncode == 0 and f"https://{NAME}/logged-in" in done.stdout, done
    caddyfile = (ROOT / "config" / "proxies" / "Caddyfile").read_text()
    for variable in services["balancer"]["environment"]:
        assert f"{{${variable}:" in caddyfile
        # It may be set in a shell in which authseal is run as well, which would take it for a key of its own.
        assert not variable.startswith("AUTHSEAL_")
    # A folder that the image is built from would take the keys along.
    for replica in replicas:
        assert replica["volumes"] == ["/srv/authseal/etc:/etc/authseal:ro", "/srv/authseal/state:/var/lib/authseal"]
    for name in re.findall(r"(\w+):8080", services["balancer"]["environment"]["UPSTREAMS"]):
        assert name in services


def test_the_commands_in_the_containerfile_are_known():
    text = (ROOT / "Containerfile").read_text()
    verbs = [*re.findall(r'^CMD \["(\w+)"\]', text, re.MULTILINE), *re.findall(r'CMD \["/authseal", "(\w+)"\]', text)]
    assert sorted(verbs) == ["healthcheck", "serve"]
    for verb in verbs:
        assert subprocess.run([BINARY, verb, "--help"], capture_output=True).returncode == 0
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert f'org.opencontainers.image.version="{version}"' in text


def test_compose_is_started_as_the_page_says(tools, run):
    script(tools, "docker", f"""
[[ $* == "compose --file config/compose.yaml up --detach" && -f $3 && $DOMAIN == {NAME} ]]
echo started
""")
    assert run([HERE, *sections()["Two replicas with compose"]], DOMAIN=NAME) == "started\n"


def test_the_file_for_one_container_fits_the_program_and_is_started_as_the_page_says(tools, run, tmp_path):
    compose = yaml.safe_load((ROOT / "config" / "compose.single.yaml").read_text())
    (replica,) = compose["services"].values()
    assert replica["read_only"] and replica["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in replica["ports"])
    assert replica["volumes"] == ["/srv/authseal/etc:/etc/authseal:ro", "/srv/authseal/state:/var/lib/authseal"]
    (network,) = compose["networks"].values()
    assert network["ipam"]["config"][0]["gateway"] == replica["environment"]["AUTHSEAL_SERVER__TRUSTED_PROXIES"]
    given = {key: re.sub(r"\$\{DOMAIN:.*?\}", NAME, value) for key, value in replica["environment"].items()}
    for verb in (["keys", "new"], ["denylist", "init"]):
        subprocess.run([BINARY, *verb], cwd=tmp_path, capture_output=True)
    done = subprocess.run([BINARY, "check"], cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True)
    assert done.returncode == 0 and f"https://{NAME}/logged-in" in done.stdout, done
    script(tools, "docker", f"""
[[ $* == "compose --file config/compose.single.yaml up --detach" && -f $3 && $DOMAIN == {NAME} ]]
echo started
""")
    assert run([HERE, *sections()["One with compose"]], DOMAIN=NAME) == "started\n"


def test_upgrading_and_going_back(server, tools, run, tmp_path):
    place = tmp_path / "usr" / "local" / "bin"
    place.mkdir(parents=True)
    for file, version in ((place / "authseal", "old"), (tmp_path / "new", "new")):
        script(file.parent, file.name, f'[[ $1 != serve ]] || echo {version} >> {tmp_path}/served\nexec {BINARY} "$@"\n')
    (tools / "authseal").unlink()
    (tools / "authseal").symlink_to(place / "authseal")

    def run_here(*blocks):
        blocks = [block.replace("/usr/local/bin", str(place)).replace("./authseal", f"{tmp_path}/new") for block in blocks]
        run([HERE, *blocks], **variables(server), AUTHSEAL_LISTEN=f"{server['host']}:{server['port']}")
        until(lambda: status(f"http://{server['host']}:{server['port']}/readyz") == 200)

    run_here(sections()["systemd"][0])
    forward, back = sections()["Upgrading, and going back"]
    for block, served in ((forward, ["old", "new"]), (back, ["old", "new", "old"])):
        run_here(block)
        assert (tmp_path / "served").read_text().split() == served


@pytest.fixture(scope="session")
def static():
    """A static binary: the one that TESTS_STATIC names, or in the full run one that is built, which takes minutes."""
    named, target = os.environ.get("TESTS_STATIC"), "x86_64-unknown-linux-gnu"
    if not named and not os.environ.get("TESTS_FULL"):
        pytest.skip("TESTS_STATIC names no static binary; building one takes minutes, which tests/run --full does")
    if not named:
        environment = {**os.environ, "RUSTFLAGS": "-C target-feature=+crt-static"}
        command = ["cargo", "build", "--release", "--locked", "--target", target]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=BUILD_PATIENCE)
        folder = os.environ.get("CARGO_TARGET_DIR") or ROOT / "target"
        named = f"{folder}/{target}/release/authseal"
    return named


def podman(*arguments):
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=120)


def works_here(tmp_path, static):
    """What `podman run` has to be told on this machine to run anything; skips where it runs nothing."""
    if shutil.which("podman") is None or shutil.which("buildah") is None:
        pytest.skip("podman or buildah is not installed")
    if os.geteuid() != 0:
        pytest.skip("not root: files of the container's user could not be made")
    probe = tmp_path / "probe"
    probe.mkdir()
    shutil.copy(static, probe / "authseal")
    (probe / "Containerfile").write_text('FROM scratch\nCOPY authseal /authseal\nENTRYPOINT ["/authseal"]\n')
    image = "localhost/authseal-test-probe"
    built = podman("build", "-t", image, str(probe))
    if built.returncode != 0:
        pytest.skip(f"podman builds nothing on this machine: {built.stderr.strip()[-300:]}")
    try:
        # Inside another container limits cannot be raised, and of the two usual runtimes only one may like its cgroups.
        lower = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
        for before, after in (([], []), ([], lower), (["--runtime=runc"], lower), (["--runtime=crun"], lower)):
            tried = podman(*before, "run", "--rm", "--network=host", *after, image, "--version")
            if tried.returncode == 0:
                return before, ["--network=host", *after]
    finally:
        podman("rmi", image)
    pytest.skip(f"podman runs nothing on this machine: {tried.stderr.strip()[-300:]}")


def test_a_container(static, tools, run, tmp_path):
    before, options = works_here(tmp_path, static)
    host, port = address()
    name, volume = f"authseal-test-{os.getpid()}", tmp_path / "volume"
    script(tools, "cargo", '[[ $* == "build --release --locked --target x86_64-unknown-linux-gnu" ]]\n[[ $RUSTFLAGS == *crt-static ]]\n')
    # What this machine needs, names of its own, and the host's network, which needs no rights.
    script(tools, "podman", f"""
arguments=()
for word in "$@"; do
    case $word in
    authseal) arguments+=({name}) ;;
    --name=authseal) arguments+=(--name={name}) ;;
    --publish | 127.0.0.1:8080:8080) ;;
    *) arguments+=("$word") ;;
    esac
done
if [[ $1 == run ]]; then
    here=(--env AUTHSEAL_LISTEN={host}:{port} --env AUTHSEAL_ADMIN__LISTEN={host}:{address()[1]})
    arguments=(run {' '.join(options)} "${{here[@]}}" "${{arguments[@]:1}}")
fi
exec {shutil.which("podman")} {' '.join(before)} "${{arguments[@]}}"
""")
    (tmp_path / "authseal").symlink_to(Path(static).resolve())
    build, start, end = (
        block.replace("target/x86_64-unknown-linux-gnu/release/authseal", f"{tmp_path}/authseal").replace("target/image", f"{tmp_path}/image")
        for block in sections()["A container"]
    )
    try:
        run([HERE, build, start], DOMAIN=NAME, VOLUME=str(volume), ENGINE="podman")
        assert status(f"http://{host}:{port}/readyz") == 200
        image = json.loads(podman("inspect", f"localhost/{name}").stdout)[0]
        stated = int(re.search(r"One binary of (\d+) MB", (ROOT / "README.md").read_text())[1])
        assert abs(image["Size"] / 1e6 - stated) < 1, f"the pages say {stated} MB, the image has {image['Size']} bytes"
        assert image["User"] == f"{USER}:{USER}"
        container = json.loads(podman("inspect", name).stdout)[0]
        pid = container["State"]["Pid"]
        of_process = dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        assert of_process["Uid"].split() == [str(USER)] * 4 and int(of_process["CapEff"], 16) == 0
        root = re.search(r"^\S+ \S+ \S+ \S+ / (\S+)", Path(f"/proc/{pid}/mountinfo").read_text(), re.MULTILINE)
        assert "ro" in root[1].split(",")
        # It can note what is revoked, and keep state, and nothing else.
        owners = {folder: {path.stat().st_uid for path in (volume / folder).iterdir()} for folder in ("etc", "state")}
        assert owners == {"etc": {0}, "state": {USER}} and (volume / "state" / "state").is_dir()
        checked = podman(*before, "healthcheck", "run", name)
        assert checked.returncode == 0, checked
        run([HERE, end], ENGINE="podman")
        assert json.loads(podman("inspect", name).stdout)[0]["State"]["ExitCode"] == 0
    finally:
        podman(*before, "rm", "--force", "--time=0", name)
        podman("rmi", name)


def test_every_block_is_run():
    assert {name: len(blocks) for name, blocks in list(sections().items())[1:]} == {
        "Packages": 1, "systemd": 3, "With certbot": 2, "A container": 3, "One with compose": 1, "Two replicas with compose": 1, "Kubernetes": 1,
        "Upgrading, and going back": 2, "Giving the configuration to root": 2,
    }
