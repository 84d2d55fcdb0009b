"""What config/prometheus and config/grafana offer, against a real server: promtool takes all of it, each expression asks
for metrics and labels that the server has, and each alert is silent before and fires after the server was brought into
the state that it is for.

Rules are evaluated by promtool on what was scraped before and after. Its time begins at 0, so times in the samples are
moved by the time of their scrape. What happened once has to be enough, unless a rule wants it to last (`for`): then it
happens again every minute in what promtool sees.
"""

import contextlib
import datetime
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest
from machine import BINARY, PATIENCE, ROOT, Machine, Moody, address, ask, redis, status, until

RULES = ROOT / "config" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "config" / "grafana" / "authseal.json"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(not PROMTOOL, reason="there is no promtool")

# Minutes: how long all is as before, and for how long the state lasts.
BEFORE, AFTER = 10, 60
DAY = 86_400


def promtool(*arguments, text=None):
    done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    """Each alert's expression, and for how many minutes it has to hold."""
    found = re.findall(r"- alert: (\w+)\n +expr: (.+)\n(?: +for: (\d+)m\n)?", RULES.read_text())
    assert len(found) == RULES.read_text().count("alert:")
    return {alert: (expression, int(minutes or 0)) for alert, expression, minutes in found}


def dashboard():
    """Every expression of the dashboard, with its variables filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for target in (target for panel in panels for target in panel["targets"]):
        filled = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$instance", ".*")
        assert "$" not in filled, filled
        yield filled


@pytest.fixture
def started(tmp_path, moody, monkeypatch):
    """Starts servers: with more configuration, at the top and by variables."""
    machines = []

    def start(more="", epoch=None, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"AUTHSEAL_{name}", value)
        machine = Machine(tmp_path / str(len(machines)) / "authseal", moody, more)
        machine.authseal("keys", "new", *(["--epoch", str(epoch)] if epoch else []))
        machines.append(machine)
        # Not by its public address, which may speak TLS.
        with open(machine.folder.parent / "log", "ab") as log:
            machine.process = subprocess.Popen([BINARY, "serve"], cwd=machine.folder, stdout=log, stderr=log)
        until(lambda: status(f"{machine.admin}/healthz") == 200)
        return machine

    yield start
    for machine in machines:
        machine.stop()


class Scrape(dict):
    """Series and values, as one server told them."""

    def __init__(self, *machines):
        super().__init__()
        self.time = time.time()
        for number, machine in enumerate(machines):
            for line in ask(f"{machine.admin}/metrics")[1].splitlines():
                if not line.startswith("#"):
                    series, value = line.rsplit(" ", 1)
                    name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})?", series).groups()
                    more = f'job="authseal",instance="{number}"'
                    self[f"{name}{{{labels + ',' if labels else ''}{more}}}"] = float(value)

    def metric(self, beginning):
        """The sum of all series that begin so."""
        return sum(value for series, value in self.items() if series.startswith(beginning))


def written(series, scrape, now):
    """A value at a time of promtool's, in seconds."""
    value = scrape.get(series)
    if value is not None and "_timestamp_seconds" in series:
        value += now - scrape.time
    return value


def steps(value, by, count):
    return f"_x{count - 1}" if value is None else f"{value:f}+{by:f}x{count - 1}"


def evaluate(folder, alert, before, after):
    """Asserts that an alert is silent on what was scraped before, and fires after."""
    expression, minutes = rules()[alert]
    names = set(re.findall(r"\b(?:authseal|process)_\w+", expression))
    series = {one for scrape in (before, after) for one in scrape if one.split("{")[0] in names}
    assert series, f"nothing of {names}"
    inputs = []
    for one in sorted(series):
        first, second = written(one, before, 0), written(one, after, 60 * (BEFORE + 1))
        looks = 60 if "last_look" in one else 0
        counts = re.match(r"\w+(_total|_bucket|_count|_sum)\{", one) and first is not None and second is not None
        values = [steps(first, looks, BEFORE + 1), steps(second, second - first if counts and minutes else 0, AFTER)]
        inputs.append({"series": one, "values": " ".join(values)})
    fires = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    asked = lambda expr, minute, samples: {"expr": expr, "eval_time": f"{minute}m", "exp_samples": samples}
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": inputs,
            "promql_expr_test": [
                asked(fires, BEFORE, []),
                asked(f"count({fires}) > bool 0", BEFORE + minutes + 6, [{"labels": "{}", "value": 1}]),
            ],
        }],
    }
    file = folder / "test.json"
    file.write_text(json.dumps(test))
    promtool("test", "rules", str(file))


# Every scenario brings a server into the state of one alert, and gives what was scraped before and after.


def refreshed(machine, authid, so):
    before = Scrape(machine)
    so(machine.refresh(authid))
    return before, Scrape(machine)


def answered(code):
    def check(answer):
        assert answer[0] == code, answer

    return check


def failed(answer):
    assert answer[0] >= 400, answer


def absent(start):
    before = Scrape(start())
    return before, {}


def client_refused(start):
    machine = start()
    Moody.mood = lambda _: (401, {"error": "invalid_client"})
    return refreshed(machine, machine.authid(1), failed)


def app_removed(start):
    machine = start()
    answered(200)(machine.refresh(machine.authid(1)))
    return Scrape(machine), Scrape(start(CLIENTS__EXAMPLE__ID="another"))


def mass_refusal(start):
    machine = start("refresh.brake_logins = 4\nrefresh.brake_refused = 2")
    Moody.mood = lambda _: (200, {"access_token": "at", "token_type": "bearer", "expires_in": 1})
    authids = [machine.authid(1) for _ in range(5)]
    for authid in authids:
        answered(200)(machine.refresh(authid))
    before = Scrape(machine)
    Moody.mood = lambda _: (400, {"error": "invalid_grant"})
    # When its access token has ended.
    until(lambda: machine.refresh(authids[0])[0] == 401)
    answered(503)(machine.refresh(authids[1]))
    return before, Scrape(machine)


def export_refused(start):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as handler:
        threading.Thread(target=handler.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{handler.server_port}/export"
        machine = start(STATE__STORE="dir:state", LEGACY__EXPORT_URL=url, LEGACY__EXPORT_KEY="0123456789")
        scrapes = refreshed(machine, f"{0:032x}:password", failed)
        handler.shutdown()
        return scrapes


def not_durable(start):
    machine = start()
    before = Scrape(machine)
    (machine.folder / "denylist").unlink()
    answered(500)(ask(f"{machine.url}/revoked", {"X-AuthID": machine.authid(1)}, b""))
    return before, Scrape(machine)


def store_failing(start):
    with redis() as (url, process):
        machine = start(f'state.store = "{url}"\n', PROVIDERS__EXAMPLE__ROTATION="rolling")
        answered(200)(machine.refresh(machine.authid(1)))
        before = Scrape(machine)
        process.terminate()
        process.wait(PATIENCE)
        machine.refresh(machine.authid(1))
        until(lambda: Scrape(machine).metric("authseal_store_failing") == 1)
        return before, Scrape(machine)


def unwritten(start):
    machine = start('state.store = "dir:state"', PROVIDERS__EXAMPLE__ROTATION="rolling")

    def mood(_):
        shutil.rmtree(machine.folder / "state")
        (machine.folder / "state").touch()
        return 200, {"access_token": "at", "refresh_token": "another", "token_type": "bearer", "expires_in": 3600}

    Moody.mood = mood
    before = Scrape(machine)
    machine.refresh(machine.authid(1))
    until(lambda: Scrape(machine).metric("authseal_unwritten_rotations") > 0)
    return before, Scrape(machine)


def records_missing(start):
    machine = start('state.store = "dir:state"', PROVIDERS__EXAMPLE__ROTATION="single_use")
    return refreshed(machine, machine.authid(1), answered(401))


def replication_behind(start):
    with redis() as (url, process):
        machine = start(f'state.store = "{url}"\n')
        behind = lambda: Scrape(machine).metric("authseal_replication_behind_seconds")
        until(lambda: "behind_since\":null" in ask(f"{machine.admin}/readyz")[1])
        before = Scrape(machine)
        process.terminate()
        process.wait(PATIENCE)
        until(lambda: behind() > 5)
        return before, Scrape(machine)


def replication_refused(start):
    with redis() as (url, _):
        machine = start(f'state.store = "{url}"\n')
        before = Scrape(machine)
        subprocess.run(["redis-cli", "-u", url, "XADD", "authseal:revocations", "*", "e", "junk"], check=True)
        until(lambda: Scrape(machine).metric("authseal_replication_refused_total") > 0)
        return before, Scrape(machine)


@contextlib.contextmanager
def waiting(machine, count):
    """So many requests that wait for the provider, which is disturbed."""
    Moody.mood = lambda _: (503, {})
    host, port = machine.url.removeprefix("http://").split(":")
    many = [socket.create_connection((host, int(port))) for _ in range(count)]
    try:
        for one in many:
            one.sendall(f"GET /refresh HTTP/1.1\r\nHost: localhost\r\nX-AuthID: {machine.authid(1)}\r\n\r\n".encode())
        yield
    finally:
        for one in many:
            one.close()


def no_room(start):
    machine = start("refresh.max_waiting = 1")
    before = Scrape(machine)
    with waiting(machine, 5):
        until(lambda: Scrape(machine).metric('authseal_refresh_seconds_count{outcome="no_room"') > 0)
        return before, Scrape(machine)


def many_wait(start):
    machine = start()
    before = Scrape(machine)
    with waiting(machine, 55):
        until(lambda: Scrape(machine).metric("authseal_refresh_waiting") > 50)
        return before, Scrape(machine)


def provider_failing(start):
    machine = start()
    Moody.mood = lambda _: (500, {})
    return refreshed(machine, machine.authid(1), failed)


def provider_slow(start):
    machine = start()

    def mood(_):
        time.sleep(5.2)  # it has to be slow
        return 200, {"access_token": "at", "token_type": "bearer", "expires_in": 3600}

    Moody.mood = mood
    return refreshed(machine, machine.authid(1), answered(200))


def no_key(start):
    machine = start(epoch=5)
    return refreshed(machine, machine.authid(5).replace(":5:", ":4:"), answered(401))


def keyrings_differ(start):
    one, other = start(), start(epoch=2)
    return Scrape(one), Scrape(one, other)


def file_faulty(start):
    machine = start()
    before = Scrape(machine)
    (machine.folder / "denylist").write_text("nothing of the kind\n")
    until(lambda: Scrape(machine).metric("authseal_denylist_load_failed") == 1)
    return before, Scrape(machine)


def file_not_followed(start):
    """No disk hangs here: what the server told last is held while time passes."""
    machine = start()
    before = Scrape(machine)
    assert before.metric("authseal_file_last_look_timestamp_seconds")
    return before, Scrape(machine)


def certificate(start):
    def pair(folder, days):
        names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names,
                "-days", str(days), "-subj", "/CN=oauth.example.com", "-addext", "subjectAltName=DNS:oauth.example.com"]
        subprocess.run(made, check=True, capture_output=True)
        (folder / "key.pem").chmod(0o600)
        return f'tls.cert_file = "{folder}/cert.pem"\ntls.key_file = "{folder}/key.pem"'

    folder = start().folder
    return Scrape(start(pair(folder, 90))), Scrape(start(pair(folder, 5)))


def client_secret(start):
    end = lambda days: str(datetime.date.today() + datetime.timedelta(days=days))
    secret = {"CLIENTS__EXAMPLE__SECRET": "a-secret-of-the-test"}
    before = Scrape(start(CLIENTS__EXAMPLE__SECRET_EXPIRES=end(90), **secret))
    return before, Scrape(start(CLIENTS__EXAMPLE__SECRET_EXPIRES=end(10), **secret))


def login_expires(start):
    machine = start(CLIENTS__EXAMPLE__REFRESH_TOKEN_DAYS="7")
    return refreshed(machine, machine.authid(1), answered(200))


def unacknowledged(start):
    with redis() as (url, _):
        machine = start(f'state = {{ store = "{url}", redis_wait = 1 }}', PROVIDERS__EXAMPLE__ROTATION="rolling")
        Moody.mood = lambda _: (200, {"access_token": "at", "refresh_token": "b", "token_type": "bearer", "expires_in": 3600})
        before = Scrape(machine)
        machine.refresh(machine.authid(1))
        until(lambda: Scrape(machine).metric("authseal_store_unacknowledged_total") > 0)
        return before, Scrape(machine)


def crowded(start):
    machine = start("server.max_connections = 64")
    before = Scrape(machine)
    host, port = machine.url.removeprefix("http://").split(":")
    many = [socket.create_connection((host, int(port))) for _ in range(64)]
    try:
        until(lambda: Scrape(machine).metric('authseal_connections_ended_total{reason="crowded"') > 0)
        return before, Scrape(machine)
    finally:
        for one in many:
            one.close()


def log_lines_dropped(start):
    made = []

    def nobody_reads(self, folder, *arguments):
        original(self, folder, *arguments)
        os.mkfifo(folder.parent / "log")
        made.append(os.open(folder.parent / "log", os.O_RDONLY | os.O_NONBLOCK))

    original = Machine.__init__
    Machine.__init__ = nobody_reads
    try:
        machine = start(LOG__LEVEL="debug")
    finally:
        Machine.__init__ = original
    before = Scrape(machine)
    kept = http.client.HTTPConnection(machine.url.removeprefix("http://"), timeout=PATIENCE)
    for _ in range(6000):
        kept.request("GET", "/healthz")
        kept.getresponse().read()
    kept.close()
    after = Scrape(machine)
    os.close(made[0])
    return before, after


SCENARIOS = {
    "AuthsealAbsent": absent,
    "AuthsealClientRefused": client_refused,
    "AuthsealAppRemoved": app_removed,
    "AuthsealMassRefusal": mass_refusal,
    "AuthsealExportRefused": export_refused,
    "AuthsealFault": not_durable,
    "AuthsealStoreFailing": store_failing,
    "AuthsealRotationsUnwritten": unwritten,
    "AuthsealRecordsMissing": records_missing,
    "AuthsealRevocationNotDurable": not_durable,
    "AuthsealReplicationBehind": replication_behind,
    "AuthsealReplicationRefused": replication_refused,
    "AuthsealNoRoom": no_room,
    "AuthsealWaiting": many_wait,
    "AuthsealProviderFailing": provider_failing,
    "AuthsealProviderSlow": provider_slow,
    "AuthsealNoKey": no_key,
    "AuthsealKeyringsDiffer": keyrings_differ,
    "AuthsealFileFaulty": file_faulty,
    "AuthsealFileNotFollowed": file_not_followed,
    "AuthsealCertificateExpires": certificate,
    "AuthsealClientSecretExpires": client_secret,
    "AuthsealLoginExpires": login_expires,
    "AuthsealStoreUnacknowledged": unacknowledged,
    "AuthsealConnectionsCrowded": crowded,
    "AuthsealLogLinesDropped": log_lines_dropped,
}


@pytest.mark.parametrize("alert", rules())
def test_an_alert_fires_when_its_state_is_there_and_not_before(alert, started, tmp_path):
    before, after = SCENARIOS[alert](started)
    evaluate(tmp_path, alert, before, after)


def test_the_rules_are_valid_and_documented_one_by_one():
    promtool("check", "rules", str(RULES))
    rows = re.findall(r"^\| `(Authseal\w+)` \|", PAGE, re.MULTILINE)
    assert rows == list(rules()) == list(SCENARIOS)


def test_the_dashboard_is_valid(tmp_path):
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(dashboard())]
    assert len(recorded) > 20
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", str(tmp_path / "rules.json"))


def test_metrics_are_as_promtool_wants_them_and_in_order(started):
    machine = started()
    answered(200)(machine.refresh(machine.authid(1)))
    text = ask(f"{machine.admin}/metrics")[1]
    promtool("check", "metrics", text=text)
    families = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    assert families == sorted(families)
    series = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    again = [line.rsplit(" ", 1)[0] for line in ask(f"{machine.admin}/metrics")[1].splitlines() if not line.startswith("#")]
    assert series == again


def test_expressions_ask_for_what_the_server_has(started):
    listed = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", PAGE, re.MULTILINE)
    kinds = {name: kind for name, kind, _ in listed}
    labels = {name: set(re.findall(r"\w+", names)) | {"instance", "job"} for name, _, names in listed}
    labels = {name: found | {"le"} if kinds[name] == "histogram" else found for name, found in labels.items()}
    series = Scrape(started())
    seen = 0
    for expression in [expression for expression, _ in rules().values()] + list(dashboard()):
        used = re.findall(r"\b((?:authseal|process)_\w+)(?:\{([^}]*)\})?", expression)
        assert used, expression
        known = {"version"}
        for name, selectors in used:
            whole = re.sub(r"_(bucket|count|sum)$", "", name)
            metric = whole if kinds.get(whole) == "histogram" else name
            assert metric in labels, f"{name} in {expression}"
            known |= labels[metric]
            matchers = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors)
            for label, sign, value in matchers:
                assert label in labels[metric], f"{label} in {expression}"
                if kinds[metric] != "gauge" and label != "instance":
                    values = {re.search(rf'\b{label}="([^"]*)"', one)[1] for one in series if one.startswith(name + "{")}
                    wanted = value.split("|") if "~" in sign else [value]
                    seen += 1
                    assert all(any(re.fullmatch(word, one) for one in values) for word in wanted), f"{value}: {values}"
        for names in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression):
            assert set(names.split(", ")) <= known, expression
    assert seen > 12


def test_an_epoch_that_was_in_use_is_known_after_a_restart(started, tmp_path):
    """The question before an epoch is retired: a monthly backup came before the last restart."""
    machine = started()
    machine.refresh(machine.authid(1))
    used = Scrape(machine)
    machine.stop()
    machine.start()
    fresh = Scrape(machine)
    name = next(series for series in used if series.startswith("authseal_epoch_last_seen"))
    assert used[name] > 0 and fresh[name] == 0
    query = re.search(r"^max by \(epoch\) \(max_over_time.*$", PAGE, re.MULTILINE)[0]
    test = {"rule_files": [], "evaluation_interval": "1h", "tests": [{
        "interval": "1d",
        "input_series": [{"series": name, "values": f"{used[name]:f} {fresh[name]:f}+0x40"}],
        "promql_expr_test": [{"expr": query, "eval_time": "40d", "exp_samples": [
            {"labels": '{epoch="1"}', "value": used[name]},
        ]}],
    }]}
    (tmp_path / "test.json").write_text(json.dumps(test))
    promtool("test", "rules", str(tmp_path / "test.json"))
