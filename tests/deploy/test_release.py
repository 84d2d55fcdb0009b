"""What .ci/release makes: the same bytes each time, an image and a package with what they should have; and the package
installed, upgraded below a server in use, removed and purged, in a copy of this machine that is thrown away.

The copy is an overlay over this machine's files, entered by chroot. There is no systemd in it: what the package's scripts
ask of `systemctl` is written down by a stand-in, and the server is started by the unit's own command. How systemd takes it
is to be seen on a machine that has it: `apt-get install ./authseal_*.deb`, and the rest of the section "Packages" of
docs/deploying.md.

Packing takes seconds with a stand-in for the binary; the binary itself is built, twice, by the full run alone.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from machine import BINARY, PATIENCE, ROOT, address, blocks_by_section, status, until

RELEASE = ROOT / ".ci" / "release"
BUILD_PATIENCE = 3000  # seconds for a release build of everything, on a small machine
VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
SECTION = "Packages"
HAND_OVER = "kill --kill-who=main --signal=USR2 authseal"
KEPT = ["/etc/authseal", "/var/lib/authseal"]

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("git", "dpkg-deb", "buildah"))), reason="git, dpkg-deb or buildah is not installed"
)


def sums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def pack(folder, binary, **environment):
    done = subprocess.run(
        [RELEASE, "--binary", binary, folder], env={**os.environ, **environment}, capture_output=True, text=True, timeout=BUILD_PATIENCE
    )
    if done.returncode != 0 and "buildah" in done.stderr:
        pytest.skip(f"buildah builds nothing on this machine: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done
    return folder


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """Stands for the binary, and is small."""
    file = tmp_path_factory.mktemp("binary") / "authseal"
    file.write_text(f'#!/bin/sh\nexec {BINARY} "$@"\n')
    file.chmod(0o755)
    return file


@pytest.fixture(scope="module")
def packed(tmp_path_factory, binary):
    return pack(tmp_path_factory.mktemp("release") / "dist", binary, SOURCE_URL="https://example.com/authseal")


@pytest.fixture(scope="module")
def deb(packed):
    (file,) = packed.glob("*.deb")
    return file


def test_packing_twice_gives_the_same_bytes(tmp_path, packed, binary):
    other = tmp_path / "other"
    shutil.copy(binary, other)
    other.chmod(0o700)
    before = os.umask(0o077)
    try:
        again = pack(tmp_path / "again", other, SOURCE_URL="https://example.com/authseal", TZ="Asia/Tokyo", LANG="de_DE.UTF-8")
    finally:
        os.umask(before)
    assert len(sums(packed)) == 3 and sums(again) == sums(packed)
    subprocess.run(["sha256sum", "--check", "--strict", *again.glob("SHA256SUMS-*")], cwd=again, check=True, capture_output=True)


def test_the_package_has_what_belongs_to_a_program_and_nothing_of_its_operator(tmp_path, deb):
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert all(file.startswith("usr/") for file in files), "what is in /etc would be asked about at an upgrade"
    unit = (tmp_path / "usr/lib/systemd/system/authseal.service").read_text()
    assert re.search(r"^ExecStart=/(\S+)", unit, re.MULTILINE)[1] in files
    subprocess.run([BINARY, "man", tmp_path / "man"], check=True, capture_output=True)
    assert {f"usr/share/man/man1/{page.name}.gz" for page in (tmp_path / "man").iterdir()} <= files
    for shell, file in (
        ("bash", "bash-completion/completions/authseal"), ("zsh", "zsh/vendor-completions/_authseal"),
        ("fish", "fish/vendor_completions.d/authseal.fish"),
    ):
        printed = subprocess.run([BINARY, "completions", shell], check=True, capture_output=True).stdout
        assert (tmp_path / "usr/share" / file).read_bytes() == printed
    # The pages' links lead somewhere.
    assert {"usr/share/doc/authseal/docs/deploying.md", "usr/share/doc/authseal/config/authseal.toml"} <= files
    listed = subprocess.run(["dpkg-deb", "--contents", deb], check=True, capture_output=True, text=True).stdout
    modes = {tuple(line.split()[:2]) for line in listed.splitlines()}
    assert modes == {("drwxr-xr-x", "root/root"), ("-rw-r--r--", "root/root"), ("-rwxr-xr-x", "root/root")}


def test_the_image_has_the_binary_alone_and_says_where_it_comes_from(packed, binary):
    (file,) = packed.glob("*.oci.tar")
    with tarfile.open(file) as archive:
        def blob(digest):
            return archive.extractfile(f"blobs/{digest.replace(':', '/')}")

        (entry,) = json.load(archive.extractfile("index.json"))["manifests"]
        assert entry["annotations"]["org.opencontainers.image.ref.name"] == f"authseal:{VERSION}"
        manifest = json.load(blob(entry["digest"]))
        config = json.load(blob(manifest["config"]["digest"]))
        with tarfile.open(fileobj=blob(manifest["layers"][0]["digest"])) as layer:
            assert layer.getnames() == ["authseal"] and len(manifest["layers"]) == 1
            assert layer.extractfile("authseal").read() == binary.read_bytes()
    assert config["config"]["User"] == "65532:65532" and config["config"]["Entrypoint"] == ["/authseal"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["config"]["Labels"].items()}
    assert labels["revision"] == commit and labels["source"] == "https://example.com/authseal" and labels["version"] == VERSION


class Copy:
    """This machine's files, in which everything may be done: what is written goes to memory."""

    def __init__(self, folder):
        # The binary may be on a file system of its own, which an overlay over / leaves out.
        text = f"""
set -e
mount -t tmpfs none {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work none {folder}/root
mount --rbind /dev {folder}/root/dev
mount -t proc none {folder}/root/proc
mkdir -p {folder}/root{BINARY.parent}
touch {folder}/root{BINARY}
mount --bind {BINARY} {folder}/root{BINARY}
echo ready
exec sleep infinity
"""
        self.inside = folder / "root"
        self.process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline() != "ready\n":
            pytest.skip(f"no overlay on this machine: {self.process.communicate()[1].strip()}")

    def command(self, *arguments):
        return ["nsenter", f"--target={self.process.pid}", "--mount", "chroot", self.inside, *arguments]

    def run(self, text, code=0):
        """What bash printed in here, both ways."""
        environment = {"PATH": os.environ["PATH"], "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        done = subprocess.run(
            self.command("bash", "-euo", "pipefail", "-c", text), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=2 * PATIENCE,
        )
        assert done.returncode == code, f"{text}\n{done.stdout}"
        return done.stdout

    def put(self, path, file):
        with open(file, "rb") as source:
            subprocess.run(self.command("tee", path), stdin=source, check=True, stdout=subprocess.DEVNULL)

    def owned(self):
        """Everything of the operator's: owner, mode and content."""
        return self.run(f"""
find {' '.join(KEPT)} -printf '%p %u:%g %m\\n' | sort
find {' '.join(KEPT)} -type f ! -name '*.lock' -exec sha256sum {{}} + | sort""")

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def copy(tmp_path):
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "dpkg", "setpriv"))):
        pytest.skip("not root, or no unshare, nsenter, dpkg or setpriv")
    (tmp_path / "copy").mkdir()
    copy = Copy(tmp_path / "copy")
    try:
        # As on a machine with systemd, as far as the scripts can tell; and without what takes long and proves nothing.
        copy.run("""
rm -f /var/lib/man-db/auto-update
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe-io
mkdir -p /run/systemd/system /root
rm -f /usr/bin/systemctl
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
echo "$*" >>/asked
case $* in
"is-active --quiet authseal") test -e /active ;;
esac
END
chmod +x /usr/bin/systemctl""")
        yield copy
    finally:
        copy.end()


def asked(copy):
    """What systemctl was asked since the last time."""
    return copy.run("touch /asked && cat /asked && rm /asked").splitlines()


def versions(deb, folder, *others):
    """The package under other versions."""
    for other in others:
        tree = folder / other
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN" / "control"
        control.write_text(control.read_text().replace(f"Version: {VERSION}\n", f"Version: {other}\n"))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / f"{other}.deb"], check=True, capture_output=True)
        yield folder / f"{other}.deb"


def test_the_package_is_installed_upgraded_removed_and_purged(tmp_path, copy, deb):
    before, after = versions(deb, tmp_path, "0.0.1", f"{VERSION}+1")
    copy.put("/root/authseal_0.0.1_all.deb", before)
    (block,) = blocks_by_section(ROOT / "docs" / "deploying.md")[SECTION]
    copy.run("cd /root\nDOMAIN=oauth.example.com\n" + block)
    assert asked(copy) == ["daemon-reload", "is-active --quiet authseal", "enable --now authseal"]
    modes = copy.run(f"stat -c '%U:%G %a %n' {' '.join(KEPT)} /etc/authseal/keys.toml /var/lib/authseal/denylist").splitlines()
    assert modes == [
        "root:authseal 750 /etc/authseal", "authseal:authseal 750 /var/lib/authseal", "root:authseal 640 /etc/authseal/keys.toml",
        "authseal:authseal 640 /var/lib/authseal/denylist",
    ]

    # It runs as its user, by the unit's command, and is asked all the time while it is upgraded.
    host, port = address()
    start = re.search(r"^ExecStart=(.*)$", copy.run("cat /usr/lib/systemd/system/authseal.service"), re.MULTILINE)[1].split()
    server = subprocess.Popen(
        copy.command("setpriv", "--reuid=authseal", "--regid=authseal", "--init-groups", *start),
        env={"PATH": os.environ["PATH"], "AUTHSEAL_LISTEN": f"{host}:{port}", "AUTHSEAL_ADMIN__LISTEN": f"{host}:{address()[1]}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    answers, over = [], threading.Event()

    def keep_asking():
        while not over.is_set():
            answers.append(status(f"http://{host}:{port}/readyz"))

    client = threading.Thread(target=keep_asking)
    try:
        until(lambda: status(f"http://{host}:{port}/readyz") == 200)
        client.start()
        copy.run("echo '# a line of the operator' >>/etc/authseal/authseal.toml; touch /active")
        # A folder's rights, too, are the operator's once it is there.
        copy.run("chmod 755 /etc/authseal")
        owned = copy.owned()
        copy.put("/root/after.deb", after)
        copy.run("dpkg --install /root/after.deb")
        assert copy.owned() == owned
        assert asked(copy) == ["daemon-reload", "daemon-reload", "is-active --quiet authseal", HAND_OVER]
        assert copy.run("dpkg-query --show --showformat '${Version}' authseal") == f"{VERSION}+1"
    finally:
        over.set()
        if client.ident:
            client.join(PATIENCE)
        server.terminate()
        server.wait(PATIENCE)
    assert set(answers) == {200}

    # A version that finds a fault in the configuration does not end the one that runs.
    copy.run("cp -p /etc/authseal/authseal.toml /root; echo 'unknown = 1' >>/etc/authseal/authseal.toml")
    printed = copy.run("dpkg --install /root/after.deb")
    assert "authseal check finds an error" in printed and HAND_OVER not in asked(copy)
    copy.run("cp -p /root/authseal.toml /etc/authseal")

    copy.run("dpkg --remove authseal; test ! -e /usr/bin/authseal; id authseal")
    assert copy.owned() == owned and asked(copy) == ["disable --now authseal.socket authseal", "daemon-reload"]
    # Nobody is there to answer.
    assert "are kept" in copy.run("dpkg --purge authseal")
    assert copy.owned() == owned
    copy.run("dpkg --install /root/after.deb")
    assert copy.owned() == owned, "what was there is used again"
    # At a terminal somebody is.
    printed = copy.run("echo yes | DEBIAN_FRONTEND=readline script --quiet --return --command 'dpkg --purge authseal' /dev/null")
    assert "Remove the keyring, the denylist and the state of authseal?" in printed
    copy.run(f"for path in {' '.join(KEPT)}; do test ! -e $path; done; ! id authseal")


@pytest.mark.skipif(not os.environ.get("TESTS_FULL"), reason="two release builds take many minutes; tests/run --full does it")
def test_two_builds_in_two_folders_give_the_same_bytes(tmp_path):
    tools = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "tools"
    tools.mkdir(exist_ok=True)
    checkouts = [tmp_path / name for name in ("one", "another-folder")]
    # Both before the first build, which takes so long that this checkout may be at another commit afterwards.
    for checkout in checkouts:
        subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
        # Tools need not be made twice.
        (checkout / "target").mkdir()
        (checkout / "target" / "tools").symlink_to(tools)
    made = []
    for checkout in checkouts:
        environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
        subprocess.run([checkout / ".ci" / "release"], env=environment, check=True, timeout=BUILD_PATIENCE)
        made.append(checkout / "target" / "dist")
    assert len(sums(made[0])) == 6 and sums(made[0]) == sums(made[1])
    (file,) = made[0].glob("*.cdx.json")
    components = {(each["name"], each["version"]) for each in json.loads(file.read_text())["components"]}
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    crates = set(re.findall(r"^(\S+) v(\S+)(?: \(proc-macro\))?(?: \(\*\))?$", tree, re.MULTILINE))
    assert len(crates) > 100 and crates <= components
