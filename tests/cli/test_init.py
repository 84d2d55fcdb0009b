"""The questions of `authseal init`, answered on a terminal as a person does."""

import subprocess

from terminal import BINARY, Terminal

URL = "https://oauth.example.com"
DOWN = "j"


def check(folder):
    """What `check` says of what was made, which is good."""
    command = [BINARY, "check", "--config", "etc/authseal.toml"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def begin(folder, *providers):
    """Answers up to the choice of these providers, by their places in the list: box, dropbox, google, jottacloud …"""
    terminal = Terminal(folder, "init")
    terminal.answer("Where shall authseal.toml, keys.toml and denylist go?", "etc\r")
    terminal.answer("Public address of this server", f"{URL}\r")
    terminal.answer("Your mail address for Let's Encrypt", "\r")
    terminal.read("Providers (Space chooses, Enter continues)")
    keys = "".join(DOWN if at not in providers else f" {DOWN}" for at in range(max(providers) + 1))
    terminal.answer("Box", f"{keys}\r")
    return terminal


def test_it_asks_for_everything_and_a_secret_is_not_shown(tmp_path):
    terminal = begin(tmp_path, 2)
    terminal.read("Providers (Space chooses, Enter continues): Google")
    terminal.answer("State store", "\r")
    terminal.read(f"{URL}/logged-in")
    terminal.answer("Google client ID (leave empty to fill in later)", "1234.apps\r")
    terminal.answer_unseen("into google-secret later): ", "hush hush\r")
    assert terminal.end() == 0, terminal.shown
    assert "hush" not in terminal.shown
    secret = tmp_path / "etc" / "google-secret"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hush hush\n", 0o600)
    assert "\noffered: gcs, googledrive, googledocs\n" in check(tmp_path)


def test_each_answer_is_judged_where_it_is_given_and_nothing_is_lost(tmp_path):
    (tmp_path / "file").touch()
    terminal = Terminal(tmp_path, "init")
    folder = "Where shall authseal.toml, keys.toml and denylist go?"
    terminal.answer(folder, "file\r")
    terminal.read("is not a folder")
    terminal.answer(folder, "file/below\r")
    terminal.read("is not a folder")
    terminal.answer(folder, "~/x\r")
    terminal.read("only a shell knows")
    terminal.answer(folder, "etc/authseal.toml\r")
    terminal.read("names the file; its folder is asked for")
    terminal.answer(f"{folder} [etc]", "\r")
    # What was meant is offered, and Enter takes it.
    address = "Public address of this server, like https://oauth.example.com"
    for wrong, instead in [
        ("\r", ""),
        ("https//login.example.net\r", ""),
        ("localhost:8080\r", " [http://localhost:8080]"),
        ("http://login.example.net\r", " [https://login.example.net]"),
        ("https://login.example.net/callback?x=1\r", " [https://login.example.net]"),
        ("https://u:p@login.example.net\r", " [https://login.example.net]"),
        ("login.example.net\r", " [https://login.example.net]"),
    ]:
        terminal.answer(address, wrong)
        terminal.read("This ")
        terminal.read(f"{address}{instead}")
        terminal.at -= len(f"{address}{instead}")
    terminal.answer(address, "\r")
    terminal.answer("Your mail address for Let's Encrypt", "nobody\r")
    terminal.read("is not one mail address")
    terminal.answer("Your mail address for Let's Encrypt", "admin@example.net\r")
    terminal.answer("Box", f"{DOWN}{DOWN} \r")
    for wrong, why in [("disk", "This "), ("redis://:hush@localhost", "has a password"), ("/srv/state", "This ")]:
        terminal.answer("State store", f"{wrong}\r")
        terminal.read(why)
    terminal.answer("memory, dir:FOLDER or redis://HOST [dir:/srv/state]", "dir:s\r")
    terminal.answer("Google client ID", "CHANGE-ME\r")
    terminal.read("placeholder")
    terminal.answer("Google client ID", "1234.apps\r")
    terminal.answer_unseen("into google-secret later): ", "CHANGE-ME\r")
    terminal.read("placeholder")
    terminal.answer_unseen("into google-secret later): ", "hush\r")
    assert terminal.end() == 0, terminal.shown
    text = (tmp_path / "etc" / "authseal.toml").read_text()
    assert 'public_url = "https://login.example.net"' in text and 'store = "dir:s"' in text
    assert "\noffered: gcs, googledrive, googledocs\n" in check(tmp_path)


def test_the_store_that_the_providers_need_is_offered_with_the_reason(tmp_path):
    terminal = begin(tmp_path, 0, 3)
    terminal.read("Providers (Space chooses, Enter continues): Box, Jottacloud")
    terminal.read("Box and Jottacloud replace the refresh token when it is used")
    terminal.answer("[dir:state]", "\r")
    terminal.answer("Box client ID", "1\r")
    terminal.answer_unseen("into box-secret later): ", "s\r")
    assert terminal.end() == 0, terminal.shown
    assert "\noffered: box.com, jottacloud\n" in check(tmp_path)


def test_a_secret_can_be_left_for_later_and_the_client_id_is_kept(tmp_path):
    terminal = begin(tmp_path, 2)
    terminal.answer("State store", "\r")
    terminal.answer("Google client ID", "1234.apps\r")
    terminal.answer_unseen("into google-secret later): ", "\r")
    assert terminal.end() == 0, terminal.shown
    assert "then put the client secret into etc/google-secret" in terminal.shown
    file = tmp_path / "etc" / "authseal.toml"
    assert '\n#id = "1234.apps"\n#secret_file = "google-secret"\n' in file.read_text()
    check(tmp_path)
    # What it says to do is enough.
    (tmp_path / "etc" / "google-secret").write_text("hush\n")
    file.write_text(file.read_text().replace("\n#", "\n").replace("\n ", "\n# "))
    assert "\noffered: gcs, googledrive, googledocs\n" in check(tmp_path)


def test_enter_without_a_choice_is_asked_about_once(tmp_path):
    terminal = Terminal(tmp_path, "init", "--dir", "etc", "--public-url", URL, "--store", "memory")
    terminal.answer("pCloud", "\r")
    terminal.read("None is chosen: press Space")
    terminal.answer("pCloud", "\r")
    assert terminal.end() == 0, terminal.shown
    assert "No provider is set up yet" in terminal.shown


def test_flags_are_judged_before_anything_is_asked(tmp_path):
    for flags, why in [
        (["--public-url", "http://oauth.example.com"], "public_url must begin with `https://`"),
        (["--store", "disk"], "state.store "),
        (["--client-id", "google=CHANGE-ME"], "clients.google.id still holds a placeholder"),
        (["--provider", "gogle"], "no provider is called `gogle`"),
    ]:
        terminal = Terminal(tmp_path, "init", *flags)
        assert terminal.end() == 2, terminal.shown
        assert why in terminal.shown and "Where shall" not in terminal.shown


def test_what_flags_say_is_not_asked(tmp_path):
    arguments = ["--dir", "etc", "--public-url", URL, "--provider", "google", "--store", "memory"]
    terminal = Terminal(tmp_path, "init", *arguments)
    terminal.answer("client ID", "\r")
    assert terminal.end() == 0, terminal.shown
    assert "Where shall" not in terminal.shown and "client secret (" not in terminal.shown
    assert "put the client id into [clients.google]" in terminal.shown


def test_with_yes_nothing_is_asked(tmp_path):
    terminal = Terminal(tmp_path, "init", "--dir", "etc", "--public-url", URL, "--yes")
    assert terminal.end() == 0, terminal.shown
    assert (tmp_path / "etc" / "keys.toml").exists()
