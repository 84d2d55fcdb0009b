"""The procedures of docs/operating.md, run as they are there against real servers: each `sh` block of a section, in
bash, from top to bottom. Only the variables that the page declares at its top are set to something else.

What is not on every machine is pretended by short scripts on the PATH: rsync (machines are folders), kubectl and the
kubelet (a secret that is swapped into pods), systemd-creds and systemctl.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from machine import BINARY, ROOT, SERVICE, Machine, Provider, ask, blocks_by_section, script, until

DAY = 24 * 60 * 60


def sections():
    return blocks_by_section(ROOT / "docs" / "operating.md")


def test_the_page_declares_its_variables_before_anything_else():
    heading, blocks = next(iter(sections().items()))
    assert heading == "Operating" and len(blocks) == 1
    declared = re.findall(r"^([A-Z]+)=", blocks[0], re.MULTILINE)
    assert declared == ["FOLDER", "DENYLIST", "HOSTS", "REPLICAS", "CREDENTIAL", "BACKUP"]


def test_how_a_server_does(machine, run):
    screen, bundle = sections()["How a server does"]
    printed = run([screen], FOLDER=str(machine.folder), REPLICAS=machine.admin)
    assert printed.startswith(f"{machine.admin}\n  version ") and "\n  keyring       epoch 1 seals, of 1" in printed
    printed = run([bundle, "cat bundle.txt"], FOLDER=str(machine.folder))
    assert "== configuration\n" in printed and '"version": ' in printed


def test_rotating_on_one_machine(machine, run):
    old = machine.authid(1)
    run(sections()["Rotating keys on one machine"], FOLDER=str(machine.folder))
    until(lambda: machine.seals() == 2)
    new = machine.exchanged(old)
    assert new.startswith(f"v3:{SERVICE}:2:") and machine.works(new)


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
"get pods -l app=authseal -o jsonpath={{range .items[*]}}http://{{.status.podIP}}:9464 {{end}}") echo -n "{' '.join(pod.admin for pod in pods)} " ;;
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
    again = machine.exchanged(old)
    assert again.startswith(f"v3:{SERVICE}:2:") and machine.works(again)
    after = machine.authid(2)
    deny, rotate, deny_anew = sections()["A leaked key"]
    run([deny, rotate], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(old)[0] == 401)
    assert machine.works(again), "as the page says, the epoch's rule does not cover it"
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - DAY))
    run([set_to(deny_anew, PROMOTED=yesterday)], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(again)[0] == 401)
    assert machine.works(after), "a login of after the promotion was never under the leaked key"
    until(lambda: machine.seals() == 3)


def set_to(block, **values):
    """A block with other values of the variables that it sets."""
    for name, value in values.items():
        block, changed = re.subn(rf"^{name}=\S+", f"{name}={value}", block, flags=re.MULTILINE)
        assert changed == 1, name
    return block


def test_a_leaked_authid(machine, run):
    with_authid, with_id, with_time, with_hash = sections()["A leaked AuthID"]
    leaked, stolen, old, other = (machine.authid(1, login=login) for login in (0, 0, 2 * DAY, 0))
    (machine.folder / "leaked.txt").write_text(leaked)
    printed = run([with_authid], FOLDER=str(machine.folder))
    assert "yes, durably" in printed, printed
    grant = json.loads(subprocess.run(
        [BINARY, "authid", "inspect", "--json"], cwd=machine.folder, input=stolen.encode(), check=True, capture_output=True
    ).stdout)["grant"]
    run([set_to(with_id, GRANT=grant)], FOLDER=str(machine.folder))
    until(lambda: [machine.refresh(authid)[0] for authid in (leaked, stolen)] == [401, 401])
    assert machine.works(old)
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - DAY))
    run([set_to(with_time, LEAKED_AT=yesterday)], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(old)[0] == 401)
    run([with_hash], FOLDER=str(machine.folder))
    assert machine.works(other)
    assert machine.authseal("denylist", "check").stdout.endswith(
        b"good; 4 rules: 0 of epochs, 0 of services, 1 of older logins, 2 of single logins, 1 of old AuthIDs\n"
    )


def test_old_authids(tmp_path, provider, run):
    machine = Machine(tmp_path / "etc" / "authseal", provider)
    machine.authseal("keys", "new")
    toml = machine.folder / "authseal.toml"
    toml.write_text("legacy.v2 = true\n" + toml.read_text())
    try:
        machine.start()
        assert machine.works(f"v2:{SERVICE}:a-refresh-token")
        printed = run(sections()["Old AuthIDs"], FOLDER=str(machine.folder))
        assert SERVICE in printed and "a-refresh-token" not in printed, printed
    finally:
        machine.stop()


def test_a_leaked_client_secret(tmp_path, provider, tools, run):
    machine = Machine(tmp_path / "etc" / "authseal", provider)
    machine.authseal("keys", "new")
    toml = machine.folder / "authseal.toml"
    toml.write_text(toml.read_text().replace('id = "1234"', 'id = "1234"\nsecret_file = "example-secret"'))
    for name in ("example-secret", "new-secret"):
        (machine.folder / name).touch(mode=0o600)
        (machine.folder / name).write_text(f"the-{name}\n")
    pid = tmp_path / "pid"
    script(tools, "systemctl", f"""
[[ $* == "restart authseal" ]]
if [[ -e {pid} ]]; then
    kill "$(<{pid})"
    while kill -0 "$(<{pid})" 2>/dev/null; do sleep 0.05; done
fi
setsid authseal serve < /dev/null > /dev/null 2>> {tmp_path}/log &
echo $! > {pid}
""")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    authid = machine.authid(1)
    try:
        subprocess.run([tools / "systemctl", "restart", "authseal"], check=True, env=environment, cwd=machine.folder)
        machine.wait()
        assert machine.works(authid) and Provider.asked_with[-1] == "the-example-secret"
        run(sections()["A leaked client secret"], FOLDER=str(machine.folder))
        machine.wait()
        assert machine.works(authid) and Provider.asked_with[-1] == "the-new-secret"
    finally:
        os.kill(int(pid.read_text()), 15)


def test_one_denylist_on_several_machines(tmp_path, provider, tools, run):
    host = Machine(tmp_path / "etc" / "authseal", provider)
    host.authseal("keys", "new")
    machines = [Machine(tmp_path / name / "authseal", provider) for name in ("oauth1", "oauth2")]
    # On each machine the folder is the same; here it is the machine's own.
    script(tools, "ssh", f'cd {tmp_path}/$1/authseal\nshift\n"${{@#{host.folder}/}}"\n')
    try:
        for machine in machines:
            shutil.copy(host.folder / "keys.toml", machine.folder)
            machine.start()
        authids = [host.authid(1) for _ in range(3)]
        for machine, authid in zip(machines, authids):
            assert ask(f"{machine.url}/revoked", {"X-AuthID": authid}, b"")[0] == 200
        assert machines[0].works(authids[1]) and machines[1].works(authids[0])
        places = {"FOLDER": str(host.folder), "DENYLIST": str(host.folder / "denylist")}
        run(sections()["One denylist on several machines"], **places, HOSTS="oauth1 oauth2")
        for machine in machines:
            until(lambda: [machine.refresh(authid)[0] for authid in authids] == [401, 401, 200])
            assert (machine.folder / "denylist").read_text().count("\ngrant ") == 2
    finally:
        for machine in machines:
            machine.stop()


def test_compacting(machine, run):
    old, kept = machine.authid(1), machine.authid(1)
    ask(f"{machine.url}/revoked", {"X-AuthID": old}, b"")
    # As of an hour ago, since what was made in the same second may have been there before.
    denylist = machine.folder / "denylist"
    earlier = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    denylist.write_text(re.sub(r"(?<= through 1 at )\S+", earlier, denylist.read_text()))
    machine.authseal("keys", "stage")
    machine.authseal("keys", "promote", "--alone")
    until(lambda: machine.seals() == 2)
    new = machine.exchanged(kept)
    assert "1 line must stay: epoch 1 is not retired" in run(sections()["Compacting"], FOLDER=str(machine.folder))
    machine.authseal("keys", "retire", "1", "--force")
    assert "dropped 1 line" in run(sections()["Compacting"], FOLDER=str(machine.folder))
    until(lambda: machine.refresh(old)[0] == 401)
    assert machine.works(new)


def test_a_lost_keyring(machine, run):
    machine.authseal("keys", "stage")
    machine.authseal("keys", "promote", "--alone")
    until(lambda: machine.seals() == 2)
    old = [machine.authid(1), machine.authid(2)]
    (machine.folder / "keys.toml").unlink()
    assert all(map(machine.works, old)), "a running server continues with what it has"
    run(sections()["The keyring is lost"], FOLDER=str(machine.folder))
    until(lambda: machine.seals() == 8)
    assert [machine.refresh(authid)[0] for authid in old] == [401, 401]
    assert machine.works(machine.authid(8))


def test_making_a_backup_and_restoring_it(machine, run, tmp_path):
    kept, revoked = machine.authid(1), machine.authid(1)
    ask(f"{machine.url}/revoked", {"X-AuthID": revoked}, b"")
    assert machine.refresh(revoked)[0] == 401
    places = {"FOLDER": str(machine.folder), "DENYLIST": str(machine.folder / "denylist"), "BACKUP": str(tmp_path / "safe")}
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


def test_changing_the_configuration_while_it_runs(machine, run):
    authid = machine.authid(1)
    assert machine.works(authid)
    toml = machine.folder / "authseal.toml"
    toml.write_text(toml.read_text() + '[site]\nname = "Backup Club"\n')
    printed = run(sections()["Change the configuration while it runs"], FOLDER=str(machine.folder))
    assert printed.endswith("reloaded; changed:\n  site.name\n"), printed
    assert machine.works(authid)
