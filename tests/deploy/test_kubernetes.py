"""config/kubernetes: rendered by kubectl and held against the API's schemas and the binary; and its pods, as far as files
and processes go: volumes laid out and swapped as the kubelet does it, a keyring rotated below three replicas in use.

No cluster is asked. What the schemas of the Prometheus Operator say of its two kinds is not checked here:
`kubectl apply --dry-run=server -k config/kubernetes/monitoring` does that.
"""

import re
import shutil
import subprocess
import threading

import kubernetes_validate
import pytest
import yaml
from machine import BINARY, PATIENCE, ROOT, SERVICE, Machine, address, blocks_by_section, redis, script, status, until

PAGE = blocks_by_section(ROOT / "docs" / "deploying.md")
FOLDER = ROOT / "config" / "kubernetes"
OLDEST = re.search(r"\((\d\.\d+) or later\)", (FOLDER / "kustomization.yaml").read_text())[1]
UNDER_WAY, UNWRITTEN = 25, 5  # seconds that a server takes at most after server.drain_seconds


def kustomize(folder):
    """Every object by kind and name."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found


@pytest.fixture(scope="module")
def rendered():
    return kustomize(FOLDER)


@pytest.fixture(scope="module")
def monitoring():
    return kustomize(FOLDER / "monitoring")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """With the denylist on a volume, as an overlay has it."""
    return overlay(tmp_path_factory, "shared-denylist")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """With a denylist of each pod's own."""
    return overlay(tmp_path_factory, "own-denylist")


def overlay(tmp_path_factory, component):
    folder = tmp_path_factory.mktemp("overlay")
    shutil.copytree(FOLDER, folder / "authseal")
    (folder / "kustomization.yaml").write_text(f"resources: [authseal]\ncomponents: [authseal/{component}]\n")
    return kustomize(folder)


def pod_of(objects):
    pod = objects["Deployment", "authseal"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def config_of(objects):
    (config,) = (each["data"] for (kind, _), each in objects.items() if kind == "ConfigMap")
    return config


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("what", ["rendered", "monitoring", "shared", "own"])
def test_each_object_is_as_the_api_wants_it(what, version, request):
    of_others = []
    for (kind, _), each in request.getfixturevalue(what).items():
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            of_others.append(kind)
    assert sorted(of_others) == (["PrometheusRule", "ServiceMonitor"] if what == "monitoring" else [])


@pytest.mark.parametrize("kustomization", sorted(FOLDER.rglob("kustomization.yaml")))
def test_what_a_kustomization_takes_in_is_there_and_nothing_else(kustomization):
    folder, content = kustomization.parent, yaml.safe_load(kustomization.read_text())
    resources = content.get("resources", [])
    patches = [patch["path"] for patch in content.get("patches", [])]
    files = [file for each in content.get("configMapGenerator", []) for file in each["files"]]
    assert sorted([kustomization.name, *resources, *patches, *files]) == sorted(path.name for path in folder.iterdir() if path.is_file())
    # By itself, for where there is no kubectl.
    for name in resources:
        try:
            kubernetes_validate.validate(yaml.safe_load((folder / name).read_text()), OLDEST, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            assert folder.name == "monitoring"


def test_names_and_labels_meet(rendered, monitoring):
    deployment = rendered["Deployment", "authseal"]
    labels, (_, container) = deployment["spec"]["template"]["metadata"]["labels"], pod_of(rendered)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        rendered["PodDisruptionBudget", "authseal"]["spec"]["selector"]["matchLabels"],
        rendered["NetworkPolicy", "authseal"]["spec"]["podSelector"]["matchLabels"],
        rendered["Service", "authseal"]["spec"]["selector"],
        monitoring["Service", "authseal-admin"]["spec"]["selector"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod_of(rendered)[0]["topologySpreadConstraints"]),
    ):
        assert selector == labels
    target = rendered["HorizontalPodAutoscaler", "authseal"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in rendered
    (http,) = rendered["Service", "authseal"]["spec"]["ports"]
    (admin,) = monitoring["Service", "authseal-admin"]["spec"]["ports"]
    assert (http["targetPort"], admin["targetPort"]) == ("http", "admin"), "the admin port is in no service for visitors"
    # One rule for each port, each with somebody it is for.
    rules = rendered["NetworkPolicy", "authseal"]["spec"]["ingress"]
    assert [[port["port"] for port in rule["ports"]] for rule in rules] == [["http"], ["admin"]]
    assert all(peer["namespaceSelector"]["matchLabels"] for rule in rules for peer in rule["from"])
    monitor = monitoring["ServiceMonitor", "authseal"]["spec"]
    service = monitoring["Service", "authseal-admin"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= rendered["Service", "authseal"]["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [admin["name"]]
    # As the image and the configuration have them.
    assert f"AUTHSEAL_LISTEN=0.0.0.0:{ports['http']}" in (ROOT / "Containerfile").read_text()
    assert f'listen = ["0.0.0.0:{ports["admin"]}"]' in config_of(rendered)["authseal.toml"]
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert container["image"] == f"authseal:{version}"


def test_a_pod_has_no_rights_and_ends_after_the_server_does(rendered, shared):
    for objects in (rendered, shared):
        pod, container = pod_of(objects)
        user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and [security["runAsUser"], security["runAsGroup"]] == [int(user[1]), int(user[2])]
        assert security["fsGroup"] == security["runAsGroup"], "files of secrets are readable for their group alone"
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"] and own["capabilities"] == {"drop": ["ALL"]}
        drain = int(re.search(r"^drain_seconds = (\d+)$", config_of(objects)["authseal.toml"], re.MULTILINE)[1])
        assert pod["terminationGracePeriodSeconds"] > drain + UNDER_WAY + UNWRITTEN
        ready = container["readinessProbe"]
        assert drain > 2 * ready["periodSeconds"] * ready["failureThreshold"]


def test_what_is_mounted_is_followed_and_read_only(rendered, shared):
    for objects, writable in ((rendered, []), (shared, ["denylist"])):
        pod, container = pod_of(objects)
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]} and len(mounts) == len(container["volumeMounts"])
        assert all("subPath" not in mount for mount in mounts.values())
        assert [name for name, mount in mounts.items() if not mount["readOnly"]] == writable
        assert all(volume["secret"]["defaultMode"] == 0o440 for volume in pod["volumes"] if "secret" in volume)
        assert [volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume] == writable


def test_the_operators_alerts_are_those_of_prometheus(tmp_path):
    text = (FOLDER / "monitoring" / "rules.yaml").read_text()
    command = re.search(r"^#   (sed .*)$", text, re.MULTILINE)[1]
    here = tmp_path / "kubernetes" / "monitoring"
    here.mkdir(parents=True)
    (here / "rules.yaml").write_text(text)
    shutil.copytree(ROOT / "config" / "prometheus", tmp_path.parent / tmp_path.name / "prometheus")
    subprocess.run(["bash", "-c", command], cwd=here, check=True)
    assert (here / "rules.yaml").read_text() == text, "config/prometheus/rules.yaml was changed; run the command in this file"
    source = yaml.safe_load((ROOT / "config" / "prometheus" / "rules.yaml").read_text())
    assert yaml.safe_load(text)["spec"] == source


class Volume:
    """A secret or a config map in a pod, as the kubelet keeps it: links through `..data`, which is swapped."""

    def __init__(self, folder, files):
        self.folder, self.count = folder, 0
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")
        self.publish(files)

    def publish(self, files):
        self.count += 1
        version = self.folder / f"..{self.count}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_text(content)
            (version / name).chmod(0o440)
        version.chmod(0o550)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        shutil.rmtree(self.folder / f"..{self.count - 1}", ignore_errors=True)


class Pod(Machine):
    """What a pod's container sees: its volumes below a folder, which stands for the root."""

    def __init__(self, root, objects, contents):
        self.root, self.process = root, None
        (host, port), (_, admin) = address(), address()
        self.url, self.admin = f"http://{host}:{port}", f"http://{host}:{admin}"
        pod, container = pod_of(objects)
        self.volumes = {}
        for mount in container["volumeMounts"]:
            (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
            source = volume.get("secret", {}).get("secretName") or volume["configMap"]["name"]
            files = contents.get(source) or objects["ConfigMap", source]["data"]
            # What is somewhere else here, and the variable of the image.
            files = {
                name: f'listen = ["{host}:{port}"]\n' + re.sub(r'"(?=/(run|etc)/authseal)', f'"{root}', content).replace(
                    "0.0.0.0:9464", f"{host}:{admin}"
                ) if name == "authseal.toml" else content
                for name, content in files.items()
            }
            self.volumes[mount["name"]] = Volume(root / mount["mountPath"].lstrip("/"), files)
        self.folder = root / "etc" / "authseal"


@pytest.fixture
def operator(tmp_path, provider):
    """Where the keyring is made, and the objects that are made by hand with it."""
    machine = Machine(tmp_path / "operator" / "authseal", provider)
    machine.authseal("keys", "new")
    return machine


def made_by_hand(operator, store):
    return {
        "authseal-keys": {"keys.toml": (operator.folder / "keys.toml").read_text()},
        "authseal-clients": {"google": "a secret\n"},
        "authseal-store": {"url": f"{store}\n"},
        "authseal-denylist": {"denylist": (operator.folder / "denylist").read_text()},
    }


def test_the_configuration_is_good_with_what_the_page_makes(tmp_path, rendered, tools, run):
    (tools / "google").write_text("a secret\n")
    (tools / "url").write_text("rediss://:password@redis.example.com:6379/0\n")
    script(tools, "kubectl", f"""
[[ $1 == create ]]
shift
[[ $1 != secret ]] || {{ [[ $2 == generic ]]; shift; }}
install -D --mode=600 "${{3#--from-file=}}" "{tmp_path}/made/$2/${{3#--from-file=}}"
""")
    run(PAGE["Kubernetes"])
    made = {folder.name: {file.name: file.read_text() for file in folder.iterdir()} for folder in (tmp_path / "made").iterdir()}
    pod = Pod(tmp_path / "pod", rendered, made)
    done = subprocess.run([BINARY, "check", "--config", pod.folder / "authseal.toml"], capture_output=True, text=True)
    assert done.returncode == 0 and "offered: gcs, googledrive" in done.stdout, done


def test_an_overlay_as_the_page_has_it(tmp_path):
    section = (ROOT / "docs" / "deploying.md").read_text().split("## Kubernetes")[1]
    overlay = re.search(r"^```yaml\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
    shutil.copytree(FOLDER, tmp_path / "config" / "kubernetes")
    (tmp_path / "kustomization.yaml").write_text(overlay)
    (tmp_path / "authseal.toml").write_text('public_url = "https://another.example.org"\n')
    objects = kustomize(tmp_path)
    pod, container = pod_of(objects)
    assert container["image"].startswith("registry.example.com/authseal:")
    assert config_of(objects) == {"authseal.toml": 'public_url = "https://another.example.org"\n'}
    assert ("ConfigMap", pod["volumes"][0]["configMap"]["name"]) in objects and ("ServiceMonitor", "authseal") in objects


class Load:
    """Clients that refresh at every pod until they are told to stop; what did not work is kept."""

    def __init__(self, pods, authids):
        self.pods, self.authids, self.failed, self.done, self.over = pods, authids, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.refresh, args=(pod,)) for pod in pods]

    def refresh(self, pod):
        while not self.over.is_set():
            for authid in list(self.authids):
                code, answer = pod.refresh(authid)
                self.done += code == 200
                if code != 200:
                    self.failed.append((pod.url, authid.split(":")[2], code, answer))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)


def test_keys_are_rotated_by_a_secret_and_no_refresh_fails(tmp_path, rendered, operator, provider):
    # Nor does one wait until a key that is not there yet comes.
    example = f"""
[refresh]
wait_seconds = 0
[clients.example]
id = "1234"
[providers.example]
authorize_url = "{provider}/authorize"
token_url = "{provider}/token"
rotation = "rolling"
[services.{SERVICE}]
provider = "example"
name = "Example Drive"
scopes = ["files"]
"""
    keyring = operator.folder / "keys.toml"
    with redis() as (store, _):
        pods = [Pod(tmp_path / f"pod{number}", rendered, made_by_hand(operator, store)) for number in range(3)]
        for pod in pods:
            config = pod.folder / "authseal.toml"
            text = config.read_text().replace("drain_seconds = 10", "drain_seconds = 0") + example
            pod.volumes["config"].publish({"authseal.toml": text})
        try:
            for pod in pods:
                pod.start()
            until(lambda: all(status(f"{pod.url}/readyz") == 200 for pod in pods))
            authids = [operator.authid(1) for _ in range(3)]
            against = [pod.admin for pod in pods]

            def hand_out():
                """One kubelet after the other; while they differ, what one seals the others open."""
                for pod in pods:
                    before = pod.seals()
                    pod.volumes["keys"].publish({"keys.toml": keyring.read_text()})
                    if f"primary = {before}\n" not in keyring.read_text():
                        until(lambda: pod.seals() != before)
                        authids.append(pod.exchanged(operator.authid(before)))
                until(lambda: subprocess.run(
                    [BINARY, "keys", "verify", "--keyring", keyring, "--against", *against], capture_output=True
                ).returncode == 0)

            with Load(pods, authids) as load:
                for epoch in (2, 3):
                    operator.authseal("keys", "stage", "--keyring", keyring)
                    hand_out()
                    operator.authseal("keys", "promote", "--keyring", keyring, "--against", *against)
                    hand_out()
                    assert [pod.seals() for pod in pods] == [epoch] * 3
                    assert [authid.split(":")[2] for authid in authids[-3:]] == [str(epoch)] * 3
                    # Everything was asked for at every pod since.
                    count = load.done
                    until(lambda: load.done > count + 3 * len(authids) or load.failed)
            assert not load.failed, load.failed[:3]
        finally:
            for pod in pods:
                if pod.process:
                    pod.process.terminate()
            for pod in pods:
                pod.stop()
