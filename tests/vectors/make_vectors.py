"""Writes the frozen vectors in tests/vectors/: a second writer of the format, which can also write it wrongly.

It shares no line with the server or with authid_reader.py. Nothing here is random: secrets, nonces and grant ids are
hashes of the vector's name, so the files come out the same on every run (test_vectors.py checks that).

    target/venv/bin/python tests/vectors/make_vectors.py
"""

import base64
import json
from hashlib import sha256
from pathlib import Path

from Crypto.Cipher import ChaCha20_Poly1305
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

FOLDER = Path(__file__).parent
LABEL = b"authseal authid v3"
LIMIT = 6144
PRIMARY, OPEN, RETIRED, FLOORED, ABSENT, STAGED, HIGHEST = 5, 2, 3, 1, 4, 6, 2**32 - 1
LOGIN, SEALED, LAST_TIME = 1795420000, 1795428000, 253402300799


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def named(what, length=32):
    return sha256(f"authseal test vector: {what}".encode()).digest()[:length]


# Keys


def secret(epoch):
    return named(f"secret of epoch {epoch}")


def key_text(epoch, body):
    """A secret's text form around any body, with the checksum that fits."""
    start = f"authseal-key:{epoch}:{body}"
    return f"{start}:{sha256(start.encode()).hexdigest()[:8]}"


def derive(master, info=LABEL, salt=b""):
    return HKDF(master, 32, salt, SHA256, context=info)


# AuthIDs


def app(provider, client_id):
    """The mark of an app registration."""
    return base64url(sha256(f"authseal app v1\0{provider}\0{client_id}".encode()).digest()[:6])


def associated(service, epoch, grant, label=LABEL):
    return label + b"\0" + bytes([len(service)]) + service.encode() + epoch.to_bytes(4, "big") + grant


def compact(members):
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


class Sealed:
    """One sealed login. `plaintext`, `associated` and `key` replace what a right writer would use."""

    def __init__(self, name, service="googledrive", epoch=PRIMARY, token=None, login=LOGIN, sealed=SEALED, **other):
        self.service, self.epoch = service, epoch
        self.token = f"refresh-token-of-{name}" if token is None else token
        self.login, self.sealed = login, sealed
        self.grant = other.get("grant", named(f"grant of {name}", 16))
        self.nonce = other.get("nonce", named(f"nonce of {name}", 24))
        self.bind = other.get("bind", named(f"bind of {name}"))
        self.stated = {name: other[name] for name in ("app", "ends") if name in other}
        plaintext = other.get("plaintext", compact(self.members()))
        cipher = ChaCha20_Poly1305.new(key=other.get("key", derive(secret(epoch))), nonce=self.nonce)
        cipher.update(other.get("associated", associated(service, epoch, self.grant)))
        self.ciphertext, self.tag = cipher.encrypt_and_digest(plaintext)

    def members(self):
        bind = base64url(self.bind)
        return {"token": self.token, "sealed": self.sealed, "login": self.login, "bind": bind, **self.stated}

    def opens_to(self):
        return {
            "service": self.service,
            "epoch": self.epoch,
            "grant": self.grant.hex(),
            "token": self.token,
            "sealed": self.sealed,
            "login": self.login,
            "bind": self.bind.hex(),
            **self.stated,
        }

    def body(self, **swapped):
        part = {**vars(self), **swapped}
        return part["grant"] + part["nonce"] + part["ciphertext"] + part["tag"]

    def text(self, **swapped):
        """The AuthID, with any part swapped after sealing; `body` swaps the text after the last colon."""
        part = {**vars(self), **swapped}
        body = part["body"] if "body" in swapped else base64url(self.body(**swapped))
        return f"v3:{part['service']}:{part['epoch']}:{body}"


# Revoke codes


CODE_LABEL = b"authseal revoke code v1"


class Code:
    """One revoke code. `input` and `key_material` replace what a right writer would use."""

    def __init__(self, name, service="googledrive", epoch=PRIMARY, **other):
        self.service, self.epoch = service, epoch
        self.grant = other.get("grant", named(f"grant of {name}", 16))
        material = other.get("input", bytes([len(service)]) + service.encode() + self.grant)
        info = other.get("label", CODE_LABEL) + b"\0" + material
        self.tag = derive(other.get("key_material", secret(epoch)), info)[:14]

    def body(self, **swapped):
        part = {**vars(self), **swapped}
        return part["grant"] + part["tag"]

    def text(self, **swapped):
        """The code, with any part swapped after it was made; `body` swaps the text after the last colon."""
        part = {**vars(self), **swapped}
        body = part["body"] if "body" in swapped else grouped(self.body(**swapped))
        return f"revoke:{part['service']}:{part['epoch']}:{body}"


def base32(data):
    """Crockford's, in lower case, made of the base32 of RFC 4648."""
    rfc, crockford = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghjkmnpqrstvwxyz"
    return base64.b32encode(data).decode().rstrip("=").translate(str.maketrans(rfc, crockford))


def grouped(data, size=8):
    text = base32(data)
    return "-".join(text[at : at + size] for at in range(0, len(text), size))


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_spare_bits(name, spare):
    """A sealed login whose last character has `spare` unused bits: 0, 2 or 4."""
    for extra in range(3):
        sealed = Sealed(name, token="token" + "x" * extra)
        if len(sealed.body()) % 3 == {0: 0, 2: 2, 4: 1}[spare]:
            return sealed
    raise AssertionError


def spare_bits_set(text):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


def of_length(name, service, length):
    """An AuthID of exactly `length` characters."""
    token = "x"
    while len(Sealed(name, service, token=token).text()) < length:
        token += "x" * max(1, (length - len(Sealed(name, service, token=token).text())) * 3 // 4 - 2)
    sealed = Sealed(name, service, token=token)
    assert len(sealed.text()) == length, (name, len(sealed.text()))
    return sealed


def valid():
    """Yields name, keyring, AuthID as it is pasted, what it opens to."""
    made = []

    def add(sealed, name, text=None, keyring="keyring.toml"):
        made.append((name, keyring, text or sealed.text(), sealed.opens_to()))

    def plain(name, **parts):
        add(Sealed(name, **parts), name)

    plain("plain")
    plain("token_one_character", token="x")
    plain("token_unicode", token="clé-ключ-鍵-\U0001f511")
    plain("token_escapes", token='quote " backslash \\ slash / newline \n tab \t control \x01 delete \x7f line \u2028')
    plain("token_colons_and_percent", token="M.C1_*!-.%3A::")
    plain("service_1_character", service="a")
    plain("service_32_characters", service="a" * 32)
    plain("service_all_kinds_of_characters", service="-az09._")
    plain("times_first", login=0, sealed=0)
    plain("times_last", login=LAST_TIME, sealed=LAST_TIME)
    plain("bytes_all_zero", grant=bytes(16), nonce=bytes(24), bind=bytes(32))
    plain("bytes_all_ones", grant=b"\xff" * 16, nonce=b"\xff" * 24, bind=b"\xff" * 32)
    for spare in (0, 2, 4):
        add(with_spare_bits(f"spare_bits_{spare}", spare), f"spare_bits_{spare}")
    plain("epoch_older_than_primary", epoch=OPEN)
    plain("epoch_staged", epoch=STAGED)
    add(Sealed("epoch_lowest", epoch=1), "epoch_lowest", keyring="keyring_highest.toml")
    add(Sealed("epoch_highest", epoch=HIGHEST), "epoch_highest", keyring="keyring_highest.toml")

    first = Sealed("resealed_before", epoch=OPEN)
    add(first, "resealed_before")
    kept = {"grant": first.grant, "bind": first.bind, "login": first.login}
    plain("resealed_after", token="the-next-refresh-token", sealed=SEALED + 86400, **kept)

    mended = Sealed("mended")
    text = mended.text()
    add(mended, "mended_colon_upper", text.replace(":", "%3A"))
    add(mended, "mended_colon_lower", text.replace(":", "%3a"))
    add(mended, "mended_one_colon", text.replace(":", "%3A", 1))
    add(mended, "mended_white_space", f" \t\n\x0c\r{text}\r\n\x0c\t ")
    add(mended, "mended_both", f" {text.replace(':', '%3A')}\n")

    longest = of_length("at_the_limit", "gd", LIMIT)
    add(longest, "at_the_limit")
    add(longest, "at_the_limit_mended", f"\n{longest.text().replace(':', '%3A')}\n")

    odd = Sealed("json_other_order")
    members = odd.members()
    backwards = compact(dict(reversed(members.items())))
    plain("json_other_order", plaintext=backwards)
    members = Sealed("json_white_space").members()
    plain("json_white_space", plaintext=json.dumps(members, indent=1).encode() + b"\n")
    members = Sealed("json_token_escaped", token="aé\U0001f511").members()
    escaped = compact({**members, "token": "?"}).replace(b"?", b"\\u0061\\u00E9\\uD83D\\uDD11")
    plain("json_token_escaped", token="aé\U0001f511", plaintext=escaped)

    plain("app", app=app("google", "1234567890-abc.apps.googleusercontent.com"))
    plain("app_and_ends", app=app("google", ""), ends=SEALED + 604800)
    plain("ends_first", ends=0)
    plain("ends_last", ends=LAST_TIME)
    members = Sealed("json_unknown_members").members()
    more = b',"scope":"files","Token":null,"":{"a":[1.50,-0,1e400,"\\u0000"]},"\\u0061b":true}'
    plain("json_unknown_members", plaintext=compact(members)[:-1] + more)
    members = Sealed("json_unknown_member_with_twins_inside").members()
    more = b',"x":{"a":1,"a":{"token":"t","token":"t"}}}'
    plain("json_unknown_member_with_twins_inside", plaintext=compact(members)[:-1] + more)
    return made


def malformed():
    """Yields name and text. Not an AuthID, or not spelled as one."""
    text = Sealed("malformed").text()
    body = text.rsplit(":", 1)[1]
    head = text[: -len(body)]
    assert "-" in body and "_" in body

    yield "empty", ""
    yield "white_space_alone", " \r\n"
    yield "raw_access_token", "sl.u.raw-access-token"
    yield "colons_alone", ":::"
    yield "version_alone", "v3"
    yield "version_missing", text.removeprefix("v3:")
    yield "version_upper_case", "V" + text[1:]
    yield "version_unknown", "v4" + text[2:]
    yield "version_leading_zero", "v03" + text[2:]
    yield "prefix_of_the_message", "authid:" + text
    yield "quoted", f'"{text}"'
    yield "byte_order_mark", "\ufeff" + text
    yield "outer_no_break_space", "\u00a0" + text
    yield "outer_vertical_tab", text + "\v"
    yield "outer_nul", text + "\0"

    yield "service_empty", Sealed("service_empty", "").text()
    yield "service_33_characters", Sealed("service_33_characters", "a" * 33).text()
    yield "service_upper_case", Sealed("service_upper_case", "GoogleDrive").text()
    yield "service_plus", Sealed("service_plus", "google+drive").text()
    yield "service_inner_space", Sealed("service_inner_space", "google drive").text()
    yield "service_cyrillic", text.replace("googledrive", "g\u043e\u043egledrive")

    yield "epoch_missing", text.replace(":5:", ":")
    yield "epoch_empty", text.replace(":5:", "::")
    yield "epoch_zero", Sealed("epoch_zero", epoch=0).text()
    yield "epoch_leading_zero", text.replace(":5:", ":05:")
    yield "epoch_plus_sign", text.replace(":5:", ":+5:")
    yield "epoch_minus_sign", text.replace(":5:", ":-5:")
    yield "epoch_inner_space", text.replace(":5:", ": 5:")
    yield "epoch_hexadecimal", text.replace(":5:", ":0x5:")
    yield "epoch_underscore", text.replace(":5:", ":1_0:")
    yield "epoch_arabic_digit", text.replace(":5:", ":\u0665:")
    yield "epoch_above_32_bits", text.replace(":5:", ":4294967296:")
    yield "epoch_wraps_to_5", text.replace(":5:", ":4294967301:")
    yield "malformed_before_newer", text.replace(":5:", ":7:") + "="

    yield "body_missing", head.removesuffix(":")
    yield "body_empty", head
    yield "body_55_bytes", head + base64url(bytes(55))
    yield "body_cut_to_one_character_over", head + body[: len(body) // 4 * 4 - 3]
    yield "text_padded_once", with_spare_bits("text_padded_once", 2).text() + "="
    yield "text_padded_twice", with_spare_bits("text_padded_twice", 4).text() + "=="
    yield "text_padded_for_nothing", with_spare_bits("text_padded_for_nothing", 0).text() + "="
    yield "two_trailing_bits_set", spare_bits_set(with_spare_bits("two_trailing_bits_set", 2).text())
    yield "four_trailing_bits_set", spare_bits_set(with_spare_bits("four_trailing_bits_set", 4).text())
    yield "standard_alphabet", head + body.replace("-", "+").replace("_", "/")
    yield "mixed_alphabet", head + body.replace("-", "+")
    yield "inner_space", f"{head}{body[:40]} {body[40:]}"
    yield "inner_line_end", f"{head}{body[:40]}\r\n{body[40:]}"
    yield "inner_tab", f"{head}{body[:40]}\t{body[40:]}"
    yield "inner_nul", f"{head}{body[:40]}\0{body[40:]}"
    yield "space_before_the_body", f"{head} {body}"
    yield "cyrillic_in_the_body", f"{head}{body[:40]}\u0430{body[41:]}"
    yield "colon_at_the_end", text + ":"
    yield "fifth_part", f"{text}:{body}"
    yield "two_authids", f"{text}\n{text}"
    yield "full_width_colon", text.replace(":", "\uff1a", 1)
    yield "colon_escaped_twice", text.replace(":", "%253A")
    yield "hyphen_escaped", head + body.replace("-", "%2D", 1)
    yield "letter_escaped", text.replace("googledrive", "%67oogledrive")
    yield "over_the_limit", of_length("over_the_limit", "gd3", LIMIT + 1).text()
    yield "over_the_limit_mended", of_length("over_the_limit", "gd3", LIMIT + 1).text().replace(":", "%3A")

    yield "version_2_without_token", "v2:googledrive"
    yield "version_2_upper_case", "V2:googledrive:refresh-token"
    yield "version_1_short", "0123456789abcdef0123456789abc:password"
    yield "version_1_long", "0123456789abcdef0123456789abcdef0:password"
    yield "version_1_without_password", "0123456789abcdef0123456789abcdef"
    yield "version_1_not_hexadecimal", "0123456789abcdef0123456789abcdeg:password"


def forged():
    """Yields name and text. Spelled as an AuthID of an epoch that opens, but not sealed as one."""
    right = Sealed("forged")
    yield "grant_flipped", right.text(grant=flipped(right.grant))
    yield "grant_swapped", right.text(grant=named("grant of another", 16))
    yield "service_swapped", right.text(service="gcs")
    yield "service_cut_short", right.text(service="googledriv")
    yield "epoch_swapped", right.text(epoch=STAGED)
    yield "epoch_lowered", right.text(epoch=OPEN)
    yield "nonce_flipped", right.text(nonce=flipped(right.nonce, 23))
    yield "nonce_short", right.text(nonce=right.nonce[:-1])
    yield "nonce_long", right.text(nonce=right.nonce + b"\0")
    yield "ciphertext_flipped", right.text(ciphertext=flipped(right.ciphertext, 9))
    yield "ciphertext_truncated", right.text(ciphertext=right.ciphertext[:-1])
    yield "ciphertext_extended", right.text(ciphertext=right.ciphertext + b"\0")
    yield "ciphertext_missing", right.text(ciphertext=b"")
    yield "tag_flipped", right.text(tag=flipped(right.tag, 15))
    yield "tag_zero", right.text(tag=bytes(16))
    yield "tag_truncated", right.text(tag=right.tag[:-1])
    yield "tag_missing", right.text(tag=b"")
    yield "tag_twice", right.text(tag=right.tag * 2)
    yield "tag_before_ciphertext", right.text(ciphertext=right.tag, tag=right.ciphertext)
    yield "nonce_before_grant", right.text(grant=right.nonce, nonce=right.grant)
    yield "all_zero", right.text(body=base64url(bytes(56)))
    yield "grafted", right.text(ciphertext=Sealed("another").ciphertext)

    def other(name, **parts):
        return name, Sealed(name, **parts).text()

    master, grant = secret(PRIMARY), named("grant of a given one", 16)
    yield other("key_of_another_server", key=derive(named("secret of another server")))
    yield other("key_of_another_epoch", key=derive(secret(STAGED)))
    yield other("key_not_derived", key=master)
    yield other("key_all_zero", key=bytes(32))
    yield other("purpose_swapped", key=derive(master, b"authseal login state v1"))
    yield other("purpose_missing", key=derive(master, b""))
    yield other("purpose_of_version_2", key=derive(master, b"authseal authid v2"))
    yield other("key_salted", key=derive(master, salt=b"authseal"))
    service = bytes([11]) + b"googledrive"
    layouts = {
        "associated_empty": b"",
        "associated_without_label": service + bytes([0, 0, 0, 5]) + grant,
        "associated_label_swapped": associated("googledrive", 5, grant, b"authseal authid v2"),
        "associated_without_zero": LABEL + service + bytes([0, 0, 0, 5]) + grant,
        "associated_without_length": LABEL + b"\0googledrive" + bytes([0, 0, 0, 5]) + grant,
        "associated_length_wide": LABEL + b"\0\0\0\0" + service + bytes([0, 0, 0, 5]) + grant,
        "associated_epoch_little_endian": LABEL + b"\0" + service + bytes([5, 0, 0, 0]) + grant,
        "associated_epoch_decimal": LABEL + b"\0" + service + b"5" + grant,
        "associated_epoch_wide": LABEL + b"\0" + service + bytes([0, 0, 0, 0, 0, 0, 0, 5]) + grant,
        "associated_grant_hexadecimal": LABEL + b"\0" + service + bytes([0, 0, 0, 5]) + grant.hex().encode(),
        "associated_without_grant": LABEL + b"\0" + service + bytes([0, 0, 0, 5]),
        "associated_grant_first": LABEL + b"\0" + grant + service + bytes([0, 0, 0, 5]),
    }
    for name, layout in layouts.items():
        yield other(name, associated=layout, grant=grant)

    content = Sealed("content")
    members = content.members()
    token = compact({**members, "token": "?"})

    def plaintext(name, text):
        return other(name, plaintext=text)

    yield plaintext("plaintext_empty", b"")
    yield plaintext("token_bare", b"refresh-token")
    yield plaintext("json_null", b"null")
    yield plaintext("json_string", b'"refresh-token"')
    yield plaintext("json_array", compact(list(members.values())))
    yield plaintext("json_object_empty", b"{}")
    for member in members:
        yield plaintext(f"json_member_missing_{member}", compact({k: v for k, v in members.items() if k != member}))
        yield plaintext(f"{member}_null", compact({**members, member: None}))
    yield plaintext("json_member_twice", compact(members)[:-1] + b',"token":"another"}')
    yield plaintext("json_unknown_member_twice", compact(members)[:-1] + b',"x":1,"y":2,"x":1}')
    yield plaintext("json_unknown_member_twice_by_an_escape", compact(members)[:-1] + b',"x":1,"\\u0078":1}')
    yield plaintext("json_unknown_member_without_a_value", compact(members)[:-1] + b',"x"}')
    yield plaintext("json_unknown_member_cut_short", compact(members)[:-1] + b',"x":{"y":1}')
    yield plaintext("json_unknown_member_named_by_half_a_pair", compact(members)[:-1] + b',"\\ud83d":1}')
    yield plaintext("json_unknown_member_not_a_number", compact(members)[:-1] + b',"x":NaN}')
    yield plaintext("json_member_upper_case", compact(members).replace(b"token", b"Token", 1))
    yield plaintext("json_trailing_comma", compact(members)[:-1] + b",}")
    yield plaintext("json_comment", compact(members)[:-1] + b"/**/}")
    yield plaintext("json_cut_short", compact(members)[:-1])
    yield plaintext("json_twice", compact(members) * 2)
    yield plaintext("json_trailing_zero_byte", compact(members) + b"\0")
    yield plaintext("json_leading_space", b" " + compact(members))
    yield plaintext("json_byte_order_mark", b"\xef\xbb\xbf" + compact(members))
    yield plaintext("json_utf_16", compact(members).decode().encode("utf-16-le"))

    yield plaintext("empty_token", compact({**members, "token": ""}))
    yield plaintext("token_number", compact({**members, "token": 1}))
    yield plaintext("token_not_utf_8", token.replace(b"?", b"\xff"))
    yield plaintext("token_overlong_utf_8", token.replace(b"?", b"\xc1\xa1"))
    yield plaintext("token_surrogate_utf_8", token.replace(b"?", b"\xed\xa0\xbd"))
    yield plaintext("token_lone_surrogate", token.replace(b"?", b"\\ud83d"))
    yield plaintext("token_raw_line_end", token.replace(b"?", b"a\nb"))
    yield plaintext("token_bad_escape", token.replace(b"?", b"\\x41"))
    members["ends"] = SEALED + 1
    for member in ("sealed", "login", "ends"):
        yield plaintext(f"{member}_negative", compact({**members, member: -1}))
        yield plaintext(f"{member}_in_year_10000", compact({**members, member: LAST_TIME + 1}))
        yield plaintext(f"{member}_text", compact({**members, member: str(SEALED)}))
        yield plaintext(f"{member}_true", compact({**members, member: True}))
        number = str(members[member]).encode()
        yield plaintext(f"{member}_fraction", compact(members).replace(number, number + b".0"))
        yield plaintext(f"{member}_exponent", compact(members).replace(number, b"1e9"))
        yield plaintext(f"{member}_leading_zero", compact(members).replace(number, b"0" + number))
        yield plaintext(f"{member}_minus_zero", compact(members).replace(number, b"-0"))
        yield plaintext(f"{member}_above_64_bits", compact({**members, member: 2**64 + SEALED}))
        yield plaintext(f"{member}_not_a_number", compact({**members, member: float("nan")}))
    yield plaintext("ends_null", compact({**members, "ends": None}))
    bind = members["bind"]
    yield plaintext("bind_short", compact({**members, "bind": base64url(content.bind[:-1])}))
    yield plaintext("bind_long", compact({**members, "bind": base64url(content.bind + b"\0")}))
    yield plaintext("bind_empty", compact({**members, "bind": ""}))
    yield plaintext("bind_padded", compact({**members, "bind": bind + "="}))
    yield plaintext("bind_trailing_bits_set", compact({**members, "bind": spare_bits_set(bind)}))
    yield plaintext("bind_hexadecimal", compact({**members, "bind": content.bind.hex()}))
    yield plaintext("bind_standard_alphabet", compact({**members, "bind": "//" + bind[2:]}))
    yield plaintext("bind_inner_space", compact({**members, "bind": f"{bind[:9]} {bind[9:]}"}))
    for name, value in [("null", None), ("number", 1), ("empty", ""), ("short", "AAAA"), ("long", "A" * 12)]:
        yield plaintext(f"app_{name}", compact({**members, "app": value}))
    for name, value in [("padded", "AAAAAAA="), ("standard_alphabet", "AAAAAA//"), ("hexadecimal", "0" * 12)]:
        yield plaintext(f"app_{name}", compact({**members, "app": value}))
    yield plaintext("app_twice", compact({**members, "app": "AAAAAAAA"})[:-1] + b',"app":"AAAAAAAA"}')


def invalid():
    """Yields name, keyring, text, expected outcome and, for version 2, the service that it names."""
    made = [(name, "keyring.toml", text, "malformed") for name, text in malformed()]
    made += [(name, "keyring.toml", text, "forged") for name, text in forged()]

    def epoch(name, number, expect, keyring="keyring.toml"):
        made.append((name, keyring, Sealed(name, epoch=number).text(), expect))

    epoch("newer_by_one", STAGED + 1, "newer")
    epoch("newer_highest", HIGHEST, "newer")
    made.append(("newer_before_forged", "keyring.toml", Sealed("x").text(epoch=7, tag=bytes(16)), "newer"))
    epoch("absent", ABSENT, "absent")
    epoch("absent_below_staged", 2, "absent", "keyring_highest.toml")
    epoch("retired", RETIRED, "retired")
    made.append(("retired_before_forged", "keyring.toml", Sealed("x").text(epoch=RETIRED), "retired"))
    epoch("below_floor", FLOORED, "below_floor")
    epoch("below_floor_before_retired", 1, "below_floor", "keyring_floor.toml")
    epoch("below_floor_before_absent", 2, "below_floor", "keyring_floor.toml")

    hexadecimal = "0123456789abcdef" * 2
    for name, text in {
        "version_1": f"{hexadecimal}:password",
        "version_1_of_30_digits": f"{hexadecimal[:30]}:password",
        "version_1_upper_case": f"{hexadecimal.upper()}:password",
        "version_1_colon_in_password": f"{hexadecimal}:pass:word",
        "version_1_empty_password": f"{hexadecimal}:",
        "version_1_mended": f" {hexadecimal}%3Apassword\n",
    }.items():
        made.append((name, "keyring.toml", text, "version1"))
    for name, text, service in [
        ("version_2", "v2:googledrive:1//refresh-token", "googledrive"),
        ("version_2_empty_token", "v2:googledrive:", "googledrive"),
        ("version_2_mended", " v2%3Agoogledrive%3a1//refresh-token\n", "googledrive"),
        ("version_2_odd_service", "v2:Google Drive:refresh-token", None),
        ("version_2_empty_service", "v2::refresh-token", None),
    ]:
        made.append((name, "keyring.toml", text, "version2", service))
    return made


def keys():
    """Yields name, text, expected outcome and, for valid ones, epoch and AuthID key."""
    text, body = key_text(5, base64url(secret(5))), base64url(secret(5))
    for name, epoch in {"plain": 5, "epoch_lowest": 1, "epoch_highest": HIGHEST}.items():
        yield name, key_text(epoch, base64url(secret(epoch))), "valid", epoch, derive(secret(epoch)).hex()
    yield "passphrase", "correct horse battery staple", "shape"
    yield "passphrase_dressed_up", "authseal-key:5:correct horse battery staple:00000000", "checksum"
    yield "passphrase_with_checksum", key_text(5, "correct horse battery staple"), "length"
    yield "empty", "", "shape"
    yield "secret_alone", body, "shape"
    yield "prefix_missing", text.removeprefix("authseal-key:"), "shape"
    yield "prefix_upper_case", text.replace("authseal", "AUTHSEAL"), "shape"
    yield "prefix_of_another_program", text.replace("authseal-key", "authseal-token"), "shape"
    yield "checksum_missing", text[:-9], "shape"
    yield "colon_at_the_end", text + ":", "shape"
    yield "white_space_before", " " + text, "shape"
    yield "white_space_after", text + "\n", "checksum"
    yield "colon_escaped", text.replace(":", "%3A"), "shape"
    yield "epoch_empty", key_text("", body), "epoch"
    yield "epoch_zero", key_text(0, body), "epoch"
    yield "epoch_leading_zero", key_text("05", body), "epoch"
    yield "epoch_plus_sign", key_text("+5", body), "epoch"
    yield "epoch_above_32_bits", key_text(2**32, body), "epoch"
    yield "epoch_swapped", text.replace(":5:", ":6:"), "checksum"
    yield "truncated_by_one", text[:-1], "checksum"
    yield "truncated_in_the_secret", f"{text[:40]}:{text[-8:]}", "checksum"
    yield "checksum_wrong", text[:-1] + ("0" if text[-1] != "0" else "1"), "checksum"
    yield "checksum_upper_case", text[:-8] + text[-8:].upper(), "checksum"
    yield "checksum_long", f"{text}00", "checksum"
    yield "checksum_of_the_bytes", f"{text[:-8]}{sha256(secret(5)).hexdigest()[:8]}", "checksum"
    yield "secret_mistyped", text.replace(body, "A" + body[1:] if body[0] != "A" else "B" + body[1:]), "checksum"
    yield "secret_empty", key_text(5, ""), "length"
    yield "secret_short", key_text(5, base64url(secret(5)[:-1])), "length"
    yield "secret_long", key_text(5, base64url(secret(5) + b"\0")), "length"
    yield "secret_padded", key_text(5, body + "="), "length"
    yield "secret_trailing_bits_set", key_text(5, spare_bits_set(body)), "length"
    yield "secret_standard_alphabet", key_text(5, "//" + body[2:]), "length"
    yield "secret_hexadecimal", key_text(5, secret(5).hex()), "length"


def codes():
    """Yields name, keyring, code as it is pasted, `valid` or the fault, and for valid ones service, epoch and grant."""

    def valid(name, code, text=None, keyring="keyring.toml"):
        return name, keyring, text or code.text(), "valid", code.service, code.epoch, code.grant.hex()

    right = Code("plain")
    text, body = right.text(), grouped(right.body())
    yield valid("plain", right)
    yield valid("service_1_character", Code("code_1", "a"))
    yield valid("service_32_characters", Code("code_32", "-az09._" + "a" * 25))
    yield valid("epoch_older_than_primary", Code("code_open", epoch=OPEN))
    yield valid("epoch_staged", Code("code_staged", epoch=STAGED))
    yield valid("epoch_highest", Code("code_highest", epoch=HIGHEST), keyring="keyring_highest.toml")
    yield valid("grant_all_zero", Code("code_zero", grant=bytes(16)))
    yield valid("grant_all_ones", Code("code_ones", grant=b"\xff" * 16))
    yield valid("white_space_outside", right, f" \t\n\x0c\r{text}\r\n")

    def fault(expect, name, text):
        return name, "keyring.toml", text, expect

    wrong = {
        "prefix_alone": "revoke:",
        "prefix_missing": text.removeprefix("revoke:"),
        "prefix_upper_case": text.replace("revoke", "Revoke"),
        "an_authid": Sealed("plain").text(),
        "colons_escaped": text.replace(":", "%3A"),
        "outer_no_break_space": "\u00a0" + text,
        "service_empty": text.replace("googledrive", ""),
        "service_upper_case": text.replace("googledrive", "GoogleDrive"),
        "service_33_characters": text.replace("googledrive", "a" * 33),
        "epoch_missing": text.replace(":5:", ":"),
        "epoch_zero": text.replace(":5:", ":0:"),
        "epoch_leading_zero": text.replace(":5:", ":05:"),
        "epoch_above_32_bits": text.replace(":5:", ":4294967296:"),
        "body_missing": text.removesuffix(body),
        "body_upper_case": right.text(body=body.upper()),
        "letter_i": right.text(body="i" + body[1:]),
        "letter_l": right.text(body="l" + body[1:]),
        "letter_o": right.text(body="o" + body[1:]),
        "letter_u": right.text(body="u" + body[1:]),
        "groups_of_four": right.text(body=grouped(right.body(), 4)),
        "dashes_left_out": right.text(body=body.replace("-", "")),
        "dash_doubled": right.text(body=body.replace("-", "--", 1)),
        "dash_moved": right.text(body=f"{body[:7]}-{body[7]}{body[9:]}"),
        "dash_at_the_end": text + "-",
        "space_for_a_dash": right.text(body=body.replace("-", " ", 1)),
        "cut_by_one": text[:-1],
        "cut_by_a_group": text[:-9],
        "a_group_more": text + "-00000000",
        "tag_short": right.text(tag=right.tag[:9]),
        "base64url": right.text(body=base64url(right.body())),
    }
    for name, changed in wrong.items():
        yield fault("malformed", name, changed)

    other = named("grant of another", 16)
    changed = {
        "grant_flipped": right.text(grant=flipped(right.grant)),
        "grant_swapped": right.text(grant=other),
        "service_swapped": right.text(service="gcs"),
        "epoch_swapped": right.text(epoch=STAGED),
        "tag_flipped_first": right.text(tag=flipped(right.tag)),
        "tag_flipped_last": right.text(tag=flipped(right.tag, 13)),
        "tag_all_zero": right.text(tag=bytes(14)),
        "tag_before_grant": right.text(body=grouped(right.tag + right.grant)),
        "key_of_another_server": Code("plain", key_material=named("secret of another server")).text(),
        "purpose_swapped": Code("plain", label=LABEL).text(),
        "input_without_length": Code("plain", input=b"googledrive" + right.grant).text(),
        "input_without_service": Code("plain", input=right.grant).text(),
        "input_without_grant": Code("plain", input=b"\x0bgoogledrive").text(),
    }
    for name, text in changed.items():
        yield fault("forged", name, text)
    yield fault("newer", "epoch_newer", Code("code_newer", epoch=7).text())
    yield fault("absent", "epoch_absent", Code("code_absent", epoch=ABSENT).text())
    yield fault("retired", "epoch_retired", Code("code_retired", epoch=RETIRED).text())
    yield fault("below_floor", "epoch_below_floor", Code("code_floored", epoch=FLOORED).text())


def keyring(head, held, retired=()):
    lines = ["# A keyring for the test vectors. Its secrets are public: never use it for anything else.", *head]
    for epoch in sorted([*held, *retired]):
        lines += ["", "[[key]]", f"epoch = {epoch}", "created = 2026-11-23T10:00:00Z"]
        given_up = "retired = 2026-11-24T10:00:00Z"
        lines.append(given_up if epoch in retired else f'secret = "{key_text(epoch, base64url(secret(epoch)))}"')
    return "\n".join(lines) + "\n"


def listed(columns, rows):
    entries = [json.dumps(dict(zip(columns, row)), indent=1) for row in rows]
    names = [row[0] for row in rows]
    assert len(names) == len(set(names)), "a name twice"
    return "[\n" + ",\n".join(entries) + "\n]\n"


def files():
    """All files of tests/vectors/ by name."""
    return {
        "keyring.toml": keyring(["primary = 5", "min_epoch = 2"], [FLOORED, OPEN, PRIMARY, STAGED], [RETIRED]),
        "keyring_highest.toml": keyring(["primary = 1"], [1, HIGHEST]),
        "keyring_floor.toml": keyring(["primary = 5", "min_epoch = 3"], [PRIMARY], [1]),
        "valid.json": listed(["name", "keyring", "authid", "opens_to"], valid()),
        "invalid.json": listed(["name", "keyring", "authid", "expect", "service"], invalid()),
        "revoke_codes.json": listed(
            ["name", "keyring", "code", "expect", "service", "epoch", "grant"], list(codes())
        ),
        "keys.json": listed(["name", "text", "expect", "epoch", "authid_key"], list(keys())),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content)
