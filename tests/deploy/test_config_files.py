"""Every file of config/ has a test that runs it with the program it is for, or has that program read it: which one is in the
table here, so that a new file without a test is noticed. What the tests do with it is theirs."""

import re
import subprocess

import pytest
from machine import ROOT

DEPLOYING, KUBERNETES, RELEASE, PROXIES = (f"tests/deploy/test_{name}.py" for name in ("deploying", "kubernetes", "release", "proxies"))
IS_RENDERED = f"{KUBERNETES}::test_each_object_is_as_the_api_wants_it"
IS_INSTALLED = f"{RELEASE}::test_the_package_is_installed_upgraded_removed_and_purged"
TESTS = {
    "authseal.toml": "src/config/tests.rs::the_example_file_works_and_shows_every_key_there_is",
    "compose.single.yaml": f"{DEPLOYING}::test_the_file_for_one_container_fits_the_program_and_is_started_as_the_page_says",
    "compose.yaml": f"{DEPLOYING}::test_the_compose_file_fits_the_program_and_the_balancer",
    **{f"debian/{name}": IS_INSTALLED for name in ("control", "postinst", "postrm", "prerm", "templates")},
    "grafana/authseal.json": "tests/deploy/test_monitoring.py::test_expressions_ask_for_what_the_server_has",
    "kubernetes/authseal.toml": f"{KUBERNETES}::test_keys_are_rotated_by_a_secret_and_no_refresh_fails",
    "kubernetes/monitoring/rules.yaml": f"{KUBERNETES}::test_the_operators_alerts_are_those_of_prometheus",
    **{
        f"kubernetes/{name}.yaml": IS_RENDERED
        for name in (
            "autoscaler", "deployment", "disruption-budget", "kustomization", "network-policy", "service", "monitoring/kustomization",
            "monitoring/service", "monitoring/service-monitor", "own-denylist/deployment", "own-denylist/kustomization",
            "shared-denylist/deployment", "shared-denylist/kustomization", "shared-denylist/volume",
        )
    },
    "oauth-server.toml": "tests/cli/import.rs::each_set_up_is_taken_over_as_expected",
    "prometheus/rules.yaml": "tests/deploy/test_monitoring.py::test_an_alert_fires_when_its_state_is_there_and_not_before",
    "providers.toml": "tests/server/login.rs::a_login_at_each_provider_ends_with_an_authid_that_works",
    **{f"proxies/{name}": f"{PROXIES}::test_a_server_behind_a_proxy" for name in ("Caddyfile", "haproxy.cfg", "nginx.conf")},
    "rclone.toml": "tests/cli/import_rclone.rs::logins_come_from_rclone_and_go_back_to_it",
    **{
        f"systemd/{name}": f"{DEPLOYING}::test_systemd_knows_every_line_of_the_unit_and_of_the_files_beside_it"
        for name in ("authseal.service", "authseal.socket", "credentials.conf", "tls.conf")
    },
}


def test_every_file_has_a_test():
    listed = subprocess.run(["git", "ls-files", "config"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {name.removeprefix("config/") for name in listed} == TESTS.keys()


@pytest.mark.parametrize("test", sorted(set(TESTS.values())))
def test_each_of_these_tests_is_there(test):
    file, name = test.split("::")
    assert re.search(rf"^ *(def|fn|async fn) {name}\(", (ROOT / file).read_text(), re.MULTILINE)
