"""The frozen vectors against the independent reader, the writer of the vectors, and the page that explains both."""

import json
import re
from pathlib import Path

import pytest
from authid_reader import Fault, Keyring, check_code, open_authid, read_secret
from authid_reader import derive as reader_derive
from make_vectors import Sealed, associated, derive, files, secret

VECTORS = Path(__file__).parent
PAGE = Path(__file__).parent.parent.parent / "docs" / "authid-format.md"


def vectors(name):
    listed = json.loads((VECTORS / name).read_text())
    return [pytest.param(vector, id=vector["name"]) for vector in listed]


def opened(vector):
    return open_authid(Keyring((VECTORS / vector["keyring"]).read_text()), vector["authid"])


@pytest.mark.parametrize("vector", vectors("valid.json"))
def test_a_valid_vector_opens_to_what_it_says(vector):
    assert opened(vector) == vector["opens_to"]


@pytest.mark.parametrize("vector", vectors("invalid.json"))
def test_an_invalid_vector_fails_as_it_says(vector):
    with pytest.raises(Fault) as fault:
        opened(vector)
    assert (fault.value.name, fault.value.service) == (vector["expect"], vector.get("service"))


@pytest.mark.parametrize("vector", vectors("keys.json"))
def test_a_key_text_is_read_or_refused_as_it_says(vector):
    if vector["expect"] == "valid":
        epoch, read = read_secret(vector["text"])
        assert (epoch, reader_derive(read).hex()) == (vector["epoch"], vector["authid_key"])
    else:
        with pytest.raises(Fault, match=vector["expect"]):
            read_secret(vector["text"])


@pytest.mark.parametrize("vector", vectors("revoke_codes.json"))
def test_a_revoke_code_counts_or_not_as_it_says(vector):
    keyring = Keyring((VECTORS / vector["keyring"]).read_text())
    if vector["expect"] == "valid":
        named = {member: vector[member] for member in ("service", "epoch", "grant")}
        assert check_code(keyring, vector["code"]) == named
    else:
        with pytest.raises(Fault, match=f"^{vector['expect']}$"):
            check_code(keyring, vector["code"])


@pytest.mark.parametrize("name", files())
def test_a_vector_file_is_what_its_writer_writes(name):
    assert (VECTORS / name).read_text() == files()[name]


def test_the_worked_example_on_the_page_is_the_vector_plain():
    plain = Sealed("plain")
    example = PAGE.read_text().split("## A worked example")[1].split("\n## ")[0]
    digits = re.sub(r"\s", "", example)
    for part in (secret(5), derive(secret(5)), plain.grant, plain.nonce, plain.ciphertext, plain.tag):
        assert part.hex() in digits
    column = re.search(r"associated data.*?\n\n", example, re.DOTALL).group().removeprefix("associated data")
    assert "".join(re.findall(r"^ +([0-9a-f]+)", column, re.MULTILINE)) == associated("googledrive", 5, plain.grant).hex()
    assert plain.text() in digits
