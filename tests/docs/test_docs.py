"""The documentation against itself, the source and the binary: links and their anchors, the way from the index to every
page, the form of the text, that docs/troubleshooting*.md quote what the program says when something goes wrong, all of it
and nothing else, and that the binary knows every command that a page shows.

The pages are read as GitHub reads them, as far as they use its rules. The source is read as text: comments and tests are
taken out, and a string's `{…}`, which the program fills in, is `…` in a quote.
"""

import itertools
import os
import re
import shlex
import subprocess
import textwrap
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent.parent
INDEX = ROOT / "docs" / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# For those who run it, and for those who use Duplicati.
TROUBLE = [ROOT / "docs" / "troubleshooting.md", ROOT / "docs" / "troubleshooting-duplicati.md"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST = 120
BINARY = Path(os.environ.get("TESTS_BIN") or ROOT / "target" / "debug" / "authseal").resolve()

# Why a login or a refresh did not work is logged as `why`, in these files' words.
WHY = ["authid/text.rs", "login/error.rs", "provider/error.rs", "tokens/error.rs"]
# What people read on the pages, in English.
TEXTS = ROOT / "templates" / "texts" / "en.toml"
# All sentences in these are an `X-Reason`.
REASONS = ["web/request/authid.rs", "web/response/errors.rs"]


def named(path):
    return str(path.relative_to(ROOT))


def pages():
    return [pytest.param(page, id=named(page)) for page in PAGES]


@cache
def lines(page):
    """Each line's number, its text, and what it is: "" for prose, "opens" for the first of a code block, else "code"."""
    result, fence = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = re.match(r" *(`{3,}|~{3,})", line)
        opens = mark is not None and fence is None
        result.append((number, line, "opens" if opens else "code" if fence else ""))
        if opens:
            fence = mark.group(1)
        elif line.strip() == fence:
            fence = None
    assert fence is None, f"{named(page)}: a code block has no end"
    return result


def prose(page):
    """The text without its code, which may look like anything."""
    text = "\n".join("" if code else line for _, line, code in lines(page))
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


@cache
def anchors(page):
    """What `#…` may name: GitHub's own anchors for headings, and those written by hand."""
    found = re.findall(r'<a (?:id|name)="([^"]+)"', prose(page))
    for _, line, code in lines(page):
        if heading := not code and re.match(r" {0,3}#{1,6} +(.*?)[ #]*$", line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def links(page):
    """The targets of relative links and pictures: a path, and an anchor or nothing."""
    written = re.findall(r"\]\(\s*<?([^)\s>]+)[^)]*\)", prose(page))
    written += re.findall(r'<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"', prose(page))
    for target in written:
        if not re.match(r"[a-z][a-z0-9+.-]*:|//", target):
            path, _, anchor = target.partition("#")
            yield target, (page.parent / unquote(path)).resolve() if path else page, unquote(anchor)


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page):
    broken = []
    for target, path, anchor in links(page):
        if not path.exists():
            broken.append(f"{target}: there is no such file")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            broken.append(f"{target}: that page has no such heading")
    assert not broken, "\n".join(broken)


def test_every_page_is_reached_from_the_index():
    seen, todo = set(), [INDEX]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            if page.suffix == ".md" and page.exists():
                todo += [path for _, path, _ in links(page) if (ROOT / "docs") in path.parents]
    files = [path for path in sorted((ROOT / "docs").rglob("*")) if path.is_file()]
    lost = [named(path) for path in files if path not in seen and path.parent not in seen]
    assert not lost, f"link these from docs/README.md or a page that it leads to: {lost}"


def test_every_page_that_the_program_names_exists():
    named_in = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "config").rglob("*")]
    missing = [
        f"{named(file)} names {path}"
        for file in named_in
        if file.is_file()
        for path in re.findall(r"\bdocs/[\w./-]*\w", file.read_text())
        if not (ROOT / path).exists()
    ]
    assert not missing, "\n".join(missing)


def test_every_room_is_on_the_page_of_the_architecture_in_the_source_s_order():
    rooms = re.findall(r"^pub mod (\w+);", (ROOT / "src" / "lib.rs").read_text(), re.MULTILINE)
    table = ARCHITECTURE.read_text().split("| Room |")[1].split("\n\n")[0]
    told = [room for cell in re.findall(r"^\| ([a-z_, ]+) \|", table, re.MULTILINE) for room in cell.split(", ")]
    assert told == rooms


def test_what_a_page_names_of_the_source_is_there():
    """Each path, and on the page of the architecture what follows a path as its function or type."""
    missing = [
        f"{named(page)} names {path}"
        for page in PAGES
        for path in re.findall(r"`((?:src|tests|templates|config|benches|\.ci)/[\w./-]*)`", page.read_text())
        if not (ROOT / path).exists()
    ]
    for path, name in re.findall(r"`(src/[\w./]+\.rs)`: `(\w+)`", ARCHITECTURE.read_text()):
        if not re.search(rf"\b{name}\b", (ROOT / path).read_text()):
            missing.append(f"{path} has no {name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", pages())
def test_lines_are_short(page):
    def length(line):
        line = re.sub(r'\]\([^)]*\)|\b(?:src|href)="[^"]*"|<?\bhttps?://[^\s)>`]*', "", line)
        return 0 if line.lstrip().startswith("|") else len(line)

    long = [number for number, line, _ in lines(page) if length(line) > LONGEST]
    assert not long, f"lines above {LONGEST} characters, without tables and URLs: {long}"


@pytest.mark.parametrize("page", pages())
def test_no_mark_of_a_merge_is_left(page):
    left = [number for number, line, _ in lines(page) if re.match(r"(<{7}|={7}|>{7})( |$)", line)]
    assert not left, f"marks of an unfinished merge in lines {left}"


@pytest.mark.parametrize("page", pages())
def test_every_code_block_says_its_language(page):
    bare = [number for number, line, kind in lines(page) if kind == "opens" and line.rstrip().endswith(("`", "~"))]
    assert not bare, f"write ```sh, ```toml, ```json, ```text or the like in lines {bare}"


@pytest.mark.parametrize("page", pages())
def test_every_toml_block_can_be_copied(page):
    for block in re.findall(r"^ *```toml\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE):
        tomllib.loads(textwrap.dedent(block))


# Words of a dialect, each with what every reader understands at once.
PLAIN = {
    r"\banew\b": "again, new",
    r"\bmend(?:s|ed|ing)?\b": "fix, correct",
    r"\b(?:go|goes|went|going) on\b": "continue",
    r"\b(?:stands?|stood)\b(?!-)": "is",
    r"\bends? of age\b": "expires",
}


@pytest.mark.parametrize("page", pages())
def test_words_are_plain(page):
    """What the program says, in code and in quotes, is not looked at."""
    prose = [(n, re.sub(r"`[^`]*`", "", line)) for n, line, kind in lines(page) if not kind and not line.startswith(">")]
    found = [f"line {n}: {said[0]!r}, say: {plain}" for n, line in prose for said, plain in dialect(line)]
    assert not found, "\n".join(found)


def test_the_first_lines_of_source_files_are_plain():
    found = []
    for path in sorted((ROOT / "src").rglob("*.rs")):
        head = "\n".join(itertools.takewhile(lambda line: line.startswith("//!"), path.read_text().splitlines()))
        found += [f"{named(path)}: {said[0]!r}, say: {plain}" for said, plain in dialect(re.sub(r"`[^`]*`", "", head))]
    assert not found, "\n".join(found)


def dialect(text):
    return [(said, plain) for word, plain in PLAIN.items() for said in re.finditer(word, text, re.IGNORECASE)]


def test_every_page_says_the_same_size():
    """How big it really is, test_deploying.py compares where there is a release build."""
    said = [
        (page, re.search(pattern, (ROOT / page).read_text()))
        for page, pattern in [
            ("README.md", r"One binary of (\d+) MB"),
            ("docs/deploying.md", r"nothing else: (\d+) MB"),
            ("docs/performance.md", r"size of the binary \| (\d+\.\d) MB"),
        ]
    ]
    assert len({found and round(float(found[1])) for _, found in said}) == 1, said


# What the program says

STRING = r'(?<![\w#])b?"(?:[^"\\]|\\.)*"'
TOKEN = re.compile(rf"//[^\n]*|r(#*)\".*?\"\1|{STRING}|'(?:\\.|[^'\\])'", re.DOTALL)


def without_comments(code):
    return TOKEN.sub(lambda token: "" if token.group().startswith("//") else token.group(), code)


@cache
def sources():
    """Each file of src/ that is not for tests alone, by its path below src/: the code without comments and tests."""
    files = {path: path.read_text() for path in sorted((ROOT / "src").rglob("*.rs"))}
    for_tests = []
    for path, text in files.items():
        folder = path.parent if path.name in ("mod.rs", "lib.rs", "main.rs") else path.with_suffix("")
        for name in re.findall(r"#\[cfg\(test\)\]\n(?:pub(?:\(\w+\))? )?mod (\w+);", text):
            for_tests += [folder / name, folder / f"{name}.rs"]
    return {
        str(path.relative_to(ROOT / "src")): without_comments(re.split(r"#\[cfg\(test\)\]\nmod \w+ \{", text)[0])
        for path, text in files.items()
        if not any(path.is_relative_to(test) for test in for_tests)
    }


def plain(text):
    """A string as it is quoted: escapes read, what is filled in as `…`, white space as single spaces."""
    text = re.sub(r"\\\n\s*", "", text)
    text = re.sub(r"\\(.)", lambda escape: {"n": " ", "t": " "}.get(escape.group(1), escape.group(1)), text)
    text = re.sub(r"\{(?:\{(.*?)\})?[^{}]*\}", lambda hole: f"{{{hole.group(1)}}}" if hole.group(1) else "…", text)
    return re.sub("…+", "…", " ".join(text.split()))


def strings(code):
    return [plain(match.group()[1:-1]) for match in re.finditer(STRING, code, re.DOTALL)]


def log_messages(code):
    """The messages of `warn!` and `error!`: the string that is an argument of its own, not a field's value."""
    for call in re.finditer(r"\b(?:warn|error)!\(", code):
        depth, at, before = 1, call.end(), "("
        while depth:
            token = TOKEN.match(code, at)
            if token and depth == 1 and before in "(," and code[at] == '"':
                yield plain(token.group()[1:-1])
            if not token:
                depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(code[at], 0)
            if token or not code[at].isspace():
                before = token.group()[-1] if token else code[at]
            at = token.end() if token else at + 1


def said():
    """What has to be quoted, with the file that says it."""
    code = sources()
    for file in REASONS:
        yield from ((file, text) for text in strings(code[file]) if len(text.split()) > 4)
    for file in WHY:
        written = re.findall(r'#\[error\(\s*"(.*?)",?\s*\)\]', code[file], re.DOTALL)
        yield from ((file, plain(text)) for text in written)
    for file, text in code.items():
        yield from ((file, message) for message in log_messages(text))
    yield from ((named(TEXTS), text) for key, text in texts() if key.startswith("error.") and key.endswith(".title"))


def texts(table=None, prefix=""):
    """The texts of the pages by their keys, like `error.busy.title`."""
    for key, value in (tomllib.loads(TEXTS.read_text()) if table is None else table).items():
        if isinstance(value, dict):
            yield from texts(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def quotes(page):
    """What a page quotes, each with its line: block quotes, and the first cell of a table's row if it is code."""
    result, open_quote = [], False
    for number, line, code in lines(page):
        if quoted := not code and line.startswith("> "):
            if not open_quote:
                result.append([number, ""])
            result[-1][1] = f"{result[-1][1]} {line[2:]}".strip()
        elif cell := not code and re.match(r"\| *(`+)(.+?)\1 *\|", line):
            result.append([number, cell.group(2)])
        open_quote = quoted
    return [(number, re.sub(r"\\([<>])", r"\1", text)) for number, text in result]


def test_troubleshooting_quotes_all_that_the_program_says():
    quoted = {text for page in TROUBLE for _, text in quotes(page)}
    wanted = dict((text, file) for file, text in said() if " " in text)
    assert len(wanted) > 60, "the source is not read rightly any more"
    missing = [f"  {file}:\n> {text}" for text, file in wanted.items() if text not in quoted]
    assert not missing, (
        "add these to docs/troubleshooting.md or -duplicati.md, with cause and cure: each as a block quote, which may be broken into lines "
        "that begin with `> `, or as code in the first cell of a table's row:\n" + "\n".join(missing)
    )


def test_troubleshooting_quotes_nothing_that_the_program_does_not_say():
    known = {text for code in sources().values() for text in strings(code)}
    known.update(strings((ROOT / "config" / "providers.toml").read_text()))
    known.update(text for _, text in texts())
    stale = [f"{page.name}:{number}: {text}" for page in TROUBLE for number, text in quotes(page) if text not in known]
    assert not stale, "no string in src/, config/providers.toml or templates/texts/en.toml says this (any more):\n" + "\n".join(stale)


def test_troubleshooting_says_what_to_do_below_every_quote():
    for page in TROUBLE:
        texts = [line for _, line, _ in lines(page)]
        for number, text in quotes(page):
            rest = [line for line in texts[number - 1 :] if line.strip() and not line.startswith("> ")]
            assert rest and not rest[0].startswith("#"), f"{page.name}:{number}: {text}: give cause and cure"


def test_the_table_for_users_of_duplicati_has_every_reason_and_no_other():
    page = (ROOT / "docs" / "duplicati.md").read_text()
    table = page.split("### What the sentence means")[1].split("###")[0]
    rows = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    parts = [part for row in rows for part in row]
    code = sources()
    known = [text for file in [*REASONS, "web/middleware/https_and_host.rs"] for text in strings(code[file])]
    # Told at /revoked and after a test alone.
    elsewhere = ("This revoke code", "The key that made this revoke code", "The key of this revoke code", "It works")
    reasons = [text for file in REASONS for text in strings(code[file]) if len(text.split()) > 4]
    reasons = [text for text in reasons if not text.startswith(elsewhere)]
    missing = [text for text in reasons if not any(part in text for part in parts)]
    assert not missing, "docs/duplicati.md, What the sentence means, has no row for:\n" + "\n".join(missing)
    stale = [part for part in parts if not any(part in text for text in known)]
    assert not stale, f"no reason says this (any more): {stale}"


def test_the_source_is_read_as_it_is_meant():
    code = """
        tracing::error!(target: "a", code = %x, event = "refused", error = format!("{e:#}"), "it {name} \\"failed\\"");
        tracing::warn!(
            peer, // "no"
            "one \\
             two"
        );
        warn!("{warning}"); compile_error!("never");
    """
    assert list(log_messages(without_comments(code))) == ['it … "failed"', "one two", "…"]
    assert plain("has `{{tenant}}` and {id:?}") == "has `{tenant}` and …"
    assert "web/response/errors.rs" in sources() and "config/tests.rs" not in sources() and "web/tests/site.rs" not in sources()
    assert anchors(ROOT / "docs" / "configuration.md") >= {"clients-your-registrations-at-providers", "the-server"}


# What the program takes

# A command in a shell's text: the program by name or path, or built and run by cargo; not its user (`-u authseal`), nor its
# unit, which ends a command.
CALLED = re.compile(r"(?:(?<![\w=./-])(?<!-[ugo] )(?:[\w./~$-]*/)?authseal|cargo run\b[^\n|;&]*? --)[ \t]+((?:--)?[a-z][^\n|;&]*)")


@cache
def usage(*verbs):
    """Of a verb's `--help`: the verbs below it, its long flags and whether they take a value, and whether there is more."""
    text = subprocess.run([BINARY, *verbs, "--help"], check=True, capture_output=True, text=True, timeout=60).stdout
    text = text.split("\nExamples:")[0]
    below = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    flags = {name: bool(value) for name, value in re.findall(r"^ +(?:-\w, )?(--[a-z][a-z0-9-]*)( <)?", text, re.MULTILINE)}
    line = re.search(r"^Usage: authseal(.*)$", text, re.MULTILINE).group(1).replace("[OPTIONS]", "")
    # What stands behind `--` is another program's.
    line = re.sub(r"\[-- .*", "", line)
    return re.findall(r"^  ([a-z][a-z-]*)", below.group(1), re.MULTILINE) if below else [], flags, re.search(r"[\[<]", line)


def commands(text):
    """The arguments of each call in a shell's text."""
    for call in CALLED.finditer(re.sub(r"\\\n\s*", " ", text)):
        tokens = shlex.shlex(call.group(1), posix=True, punctuation_chars=True)
        tokens.whitespace_split = True
        yield list(itertools.takewhile(lambda token: not set(token) <= set("();<>|&"), tokens))


def shown_commands(page):
    """All calls in the page's `sh` blocks, and those that its prose quotes as code; `authseal authid v3` is a key's label."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join("" if code else re.sub(r"^ *> ", "", line) for _, line, code in lines(page))
    spans = [" ".join(span.split()) for _, span in re.findall(r"(`+)(?!`)(.*?)(?<!`)\1(?!`)", text, re.DOTALL)]
    quoted = [span for span in spans if span.startswith(("authseal ", "cargo run ")) and not re.search(r" v\d$", span)]
    for source in [*blocks, *quoted]:
        yield from commands(source)


def unknown(arguments):
    """What of a call the binary does not know; `None` if it knows all of it."""
    rest, verbs = [argument for argument in arguments if argument != "…"], []
    while rest and (below := usage(*verbs)[0]) and not rest[0].startswith("-"):
        if rest[0] not in below:
            return rest[0]
        verbs.append(rest.pop(0))
        if verbs == ["help"]:
            verbs = []
    _, flags, takes_more = usage(*verbs)
    while rest:
        name, is_joined, _ = rest.pop(0).partition("=")
        if name == "--":
            return None
        if name.startswith("--"):
            if name not in flags:
                return name
            if flags[name] and not is_joined and rest:
                rest.pop(0)
        elif not takes_more:
            return name
    return None


@pytest.mark.parametrize("page", pages())
def test_the_binary_knows_every_command_that_a_page_shows(page):
    wrong = [f"authseal {' '.join(call)}: {what}" for call in shown_commands(page) if (what := unknown(call))]
    assert not wrong, "`--help` does not have the last word of:\n" + "\n".join(wrong)


def test_commands_are_read_as_they_are_meant():
    assert len([call for page in PAGES for call in shown_commands(page)]) > 60
    text = """
        install -d -o authseal -g authseal x; sudo -u authseal authseal serve; systemctl restart authseal  # authseal
        runuser -u authseal -- authseal check --config "$ETC/a b.toml"
        cat x | /usr/bin/authseal keys new \\
            --print >out || cargo run --release -- demo --once  # why
    """
    found = [["serve"], ["check", "--config", "$ETC/a b.toml"], ["keys", "new", "--print"], ["demo", "--once"]]
    assert list(commands(text)) == found
    for good in ["keys", "help keys new", "--version", "keys retire 3 --against $REPLICAS", "denylist remove grant …"]:
        assert unknown(good.split()) is None, good
    for bad, what in {
        "sing": "sing",
        "keys sing": "sing",
        "help sing": "sing",
        "keys new --sing": "--sing",
        "serve sing": "sing",
        "--sing": "--sing",
        "keys new --epoch 8 --config=x --sing=y": "--sing",
    }.items():
        assert unknown(bad.split()) == what, bad
