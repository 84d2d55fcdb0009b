"""The steps of docs/moving.md, run as they are there on what a running duplicati/oauth-server left on its disk."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from machine import ROOT, blocks_by_section

SET_UP = ROOT / "tests" / "oauth-server"


def test_an_oauth_server_is_taken_over(tmp_path, run):
    sections = blocks_by_section(ROOT / "docs" / "moving.md")
    assert len(sections["Moving here"]) == 1
    look, write = sections["From duplicati/oauth-server"]
    old, folder = tmp_path / "old", tmp_path / "etc"
    shutil.copytree(SET_UP / "compose", old)
    variables = {"OLD": str(old), "FOLDER": str(folder), "TOKENS": str(SET_UP / "tokens")}
    said = run([look], **variables)
    assert "What users will notice:\n" in said and "would make" in said and not folder.exists()
    assert "gd-secret" not in said
    said = run([write], **variables)
    assert f"{folder}/authseal.toml: good" in said
    offered = next(line for line in said.splitlines() if line.startswith("offered: "))
    assert {"box.com", "dropbox", "googledrive", "onedrivev2"} <= set(offered.removeprefix("offered: ").split(", "))
    assert f'v1_dir = "{SET_UP}/tokens"' in (folder / "authseal.toml").read_text()


@pytest.fixture
def database():
    """A PostgreSQL of its own, with a table as the old server's library wants it, that holds its tokens."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root.
    person = {"user": "postgres"} if os.geteuid() == 0 else {}
    home = Path(subprocess.check_output(["mktemp", "--directory"], text=True, **person).strip())
    at = {"check": True, "stdout": subprocess.DEVNULL, "cwd": home, **person}
    subprocess.run([programs[-1], "--auth=trust", "--username=old", home / "data"], **at)
    control = [programs[-1].with_name("pg_ctl"), "--wait", "--pgdata", home / "data"]
    options = f"-k {home} -c listen_addresses="
    subprocess.run([*control, "--log", home / "log", "--options", options, "start"], **at)
    address = f"postgresql:///postgres?host={home}&user=old"
    try:
        rows = ",".join(
            f"('{file.name}', decode('{file.read_bytes().hex()}', 'hex'), {file.stat().st_size})"
            for file in sorted((SET_UP / "tokens").iterdir())
        )
        table = "keyname TEXT PRIMARY KEY, keyvalue BYTEA NOT NULL, size BIGINT NOT NULL"
        sql = f"CREATE TABLE kvps ({table}); INSERT INTO kvps VALUES {rows}"
        subprocess.run(["psql", "--no-psqlrc", "--quiet", address], input=sql, text=True, **at)
        yield address
    finally:
        subprocess.run([*control, "--mode=immediate", "stop"], **at)
        subprocess.run(["rm", "-r", home], **{**at, "cwd": "/"})


def test_a_store_in_postgres_becomes_the_folder_that_it_would_have_been(tmp_path, run, database):
    (block,) = blocks_by_section(ROOT / "docs" / "moving.md")["A store in S3 or Postgres"]
    tokens = tmp_path / "tokens"
    run([block], TOKENS=str(tokens), DATABASE=database)
    there = {file.name: file.read_bytes() for file in (SET_UP / "tokens").iterdir()}
    assert {file.name: file.read_bytes() for file in tokens.iterdir()} == there and len(there) == 8
