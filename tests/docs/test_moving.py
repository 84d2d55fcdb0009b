"""The steps of docs/moving.md, run as they are there on what a running duplicati/oauth-server left on its disk."""

import shutil

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
