"""docs/quick-start.md, followed to the letter: every `sh` block from top to bottom in one shell, from a clean folder to a
refresh through nginx with a certificate, in front of the certified `oidc-provider` in the place of the cloud.

What is different: where folders and ports are (so that no machine is changed), and stand-ins for what
changes a machine (apt-get, useradd, chown, systemctl) or asks the internet (certbot, and Google itself).
"""

import html
import json
import os
import re
import shutil
import subprocess
import threading

import pytest
import requests
import urllib3.util.connection
from certificate import make_certificate
from machine import ROOT, address, pretend_system, script

PAGE = ROOT / "docs" / "quick-start.md"
NAME = "oauth.example.com"
PATIENCE = 120


@pytest.fixture
def cloud():
    """The provider: its addresses and the client that it knows."""
    command = ["node", ROOT / "tests" / "interop" / "oidc_provider.mjs", f"https://{NAME}/logged-in"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()


class Shell:
    """One shell for all blocks, as the page says; it ends at what fails."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(
            ["bash", "-euo", "pipefail"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)
        self.watchdog.start()

    def run(self, block):
        """What the block printed."""
        self.process.stdin.write(f"{{\n{block}\n}} </dev/null\nprintf '\\n==> done\\n'\n")
        self.process.stdin.flush()
        printed = ""
        for line in self.process.stdout:
            if line == "==> done\n":
                return printed
            printed += line
        raise AssertionError(f"this block failed:\n{block}\n{printed}")

    def end(self):
        self.watchdog.cancel()
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def stand_ins(tools, root, upstream, host, ports):
    pretend_system(tools)
    live = root / "etc/letsencrypt/live" / NAME
    script(tools, "certbot", f"""
[[ $* == *"--domain {NAME}"* && $* == *"--email you@example.com"* ]]
mkdir -p {live}
cp {root}/certificate/*.pem {live}/
""")
    real_nginx = shutil.which("nginx")
    http, https = ports
    script(tools, "nginx", f"""
mkdir -p {root}/nginx
sed -e 's/listen 80;/listen {host}:{http};/' -e 's/listen 443 ssl;/listen {host}:{https} ssl;/' -e '/listen \\[::\\]/d' \\
    -e 's/127.0.0.1:8080/{upstream}/' -e 's#/etc/letsencrypt#{root}/etc/letsencrypt#' -e 's#/var/log/nginx/#{root}/nginx/#' \\
    {root}/etc/nginx/conf.d/authseal.conf > {root}/nginx/snippet.conf
{{
    echo "pid nginx.pid; error_log errors; events {{}}"
    echo "http {{ client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;"
    echo "include snippet.conf; }}"
}} > {root}/nginx/nginx.conf
exec {real_nginx} -p {root}/nginx -e errors -c {root}/nginx/nginx.conf "$@"
""")
    # The unit's own command, with its folders where they are here.
    script(tools, "systemctl", f"""
case "$*" in
daemon-reload) [[ -e {root}/etc/systemd/system/authseal.service ]] ;;
"enable --now authseal")
    command=$(sed -n 's/^ExecStart=//p' {root}/etc/systemd/system/authseal.service)
    command=${{command//\\/etc\\//{root}/etc/}}
    AUTHSEAL_LISTEN={upstream} setsid ${{command#/usr/local/bin/}} < /dev/null > {root}/journal 2>&1 &
    echo $! > {root}/pid ;;
"reload nginx") [[ -e {root}/nginx/nginx.pid ]] && kill -HUP "$(< {root}/nginx/nginx.pid)" || nginx > /dev/null 2>&1 ;;
*) echo "not pretended: $*" >&2; exit 1 ;;
esac
""")


def log_in(cafile, service):
    """What step 7 asks a person to do in a browser; the AuthID that the page shows."""
    browser = requests.Session()
    browser.verify, browser.trust_env = str(cafile), False
    start = browser.get(f"https://{NAME}/?type={service}", timeout=PATIENCE)
    link = re.search(r'href="(/login\?[^"]+)"', html.unescape(start.text))
    assert link, start.text
    question = browser.get(f"https://{NAME}{link[1]}", headers={"Referer": start.url}, timeout=PATIENCE)
    for button in ("sign-in", "allow"):
        action = re.search(f'action="([^"]*/{button})"', question.text)
        assert action, f"{question.url}: {question.text}"
        question = browser.post(requests.compat.urljoin(question.url, action[1]), timeout=PATIENCE)
    shown = re.search(r'id="authid"[^>]*>([^<]*)<', question.text)
    assert shown, question.text
    return html.unescape(shown[1])


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_from_an_empty_server_to_the_first_refresh(tmp_path, tools, cloud, monkeypatch):
    root = tmp_path / "root"
    (host, http), (_, https), (own, port) = address(), address(), address()
    upstream = f"{own}:{port}"
    stand_ins(tools, root, upstream, host, (http, https))
    certificate = make_certificate(root / "certificate", NAME)
    for folder in ("etc/systemd/system", "etc/nginx/conf.d", "root", "var/lib"):
        (root / folder).mkdir(parents=True)
    (root / ".curlrc").write_text(
        f'cacert = "{certificate}/fullchain.pem"\nconnect-to = "{NAME}:443:{host}:{https}"\n'
    )
    real_connect = urllib3.util.connection.create_connection

    def connect(to, *more, **named):
        return real_connect((host, https) if to == (NAME, 443) else to, *more, **named)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
    shell = Shell(ROOT, {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CURL_HOME": str(root),
        "AUTHSEAL_ADMIN__LISTEN": f"{own}:{address()[1]}",
        # The cloud.
        "AUTHSEAL_PROVIDERS__GOOGLE__AUTHORIZE_URL": f"{cloud['issuer']}/auth",
        "AUTHSEAL_PROVIDERS__GOOGLE__TOKEN_URL": f"{cloud['issuer']}/token",
        "AUTHSEAL_PROVIDERS__GOOGLE__ALLOW_PRIVATE_ADDRESSES": "true",
        "AUTHSEAL_SERVICES__GOOGLEDRIVE__SCOPES": '["openid", "offline_access", "files"]',
    })
    text = PAGE.read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 10
    printed = []
    try:
        for block in blocks:
            block = re.sub(r"(?<![\w:/.])/(etc|root|var/lib)/", rf"{root}/\1/", block)
            block = block.replace("http://127.0.0.1:8080/", f"http://{upstream}/")
            if "Client secret" in block:
                # As if it had been typed.
                secret = root / "etc" / "authseal" / "google-secret"
                secret.parent.mkdir()
                secret.touch(mode=0o600)
                secret.write_text(f"{cloud['secret']}\n")
                secret.with_name("google-id").write_text(f"{cloud['id']}\n")
            if "AUTHID_FILE=" in block:
                authid = log_in(certificate / "fullchain.pem", "googledrive")
                assert authid.startswith("v3:googledrive:1:")
                (root / "root" / "first-authid").write_text(f"{authid}\n")
            printed.append(shell.run(block))
    finally:
        shell.end()
        for pid in (root / "pid", root / "nginx" / "nginx.pid"):
            if pid.exists():
                os.kill(int(pid.read_text()), 15)
    refreshes = [json.loads(line) for text in printed for line in text.splitlines() if line.startswith('{"access_token"')]
    assert len(refreshes) == 1 and refreshes[0]["type"] == "googledrive", printed
    assert printed[-2].strip() == f"https://{NAME}/refresh"
    assert (root / "root" / "authseal-backup.tar.gz").exists()
    assert any("\noffered: gcs, googledrive, googledocs\n" in text for text in printed), printed
