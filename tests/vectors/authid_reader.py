"""Opens AuthIDs and checks revoke codes. Written from docs/authid-format.md alone, to prove that the page is enough.

    target/venv/bin/python tests/vectors/authid_reader.py keys.toml < authid.txt
"""

import base64
import hashlib
import hmac
import json
import re
import sys
import tomllib

from Crypto.Cipher import ChaCha20_Poly1305
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

LABEL = b"authseal authid v3"
CODE_LABEL = b"authseal revoke code v1"
CODE_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
LIMIT = 6144
WHITE_SPACE = "\t\n\f\r "
LAST_TIME = 253402300799


class Fault(Exception):
    """Why something was refused: the fault's name, and the service that a version 2 AuthID names."""

    def __init__(self, name, service=None):
        super().__init__(name)
        self.name, self.service = name, service


def base64url(text):
    """Strict base64url, or None."""
    if not re.fullmatch("[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        return None
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return decoded if base64.urlsafe_b64encode(decoded).decode().rstrip("=") == text else None


def read_service(text):
    return text if re.fullmatch("[a-z0-9._-]{1,32}", text) else None


def read_epoch(text):
    return int(text) if re.fullmatch("[1-9][0-9]{0,9}", text) and int(text) < 2**32 else None


def read_secret(text):
    """The epoch and the 32 bytes of a secret's text form."""
    parts = text.split(":")
    if len(parts) != 4 or parts[0] != "authseal-key":
        raise Fault("shape")
    epoch = read_epoch(parts[1])
    if epoch is None:
        raise Fault("epoch")
    before = text.rpartition(":")[0]
    if hashlib.sha256(before.encode()).hexdigest()[:8] != parts[3]:
        raise Fault("checksum")
    secret = base64url(parts[2])
    if secret is None or len(secret) != 32:
        raise Fault("length")
    return epoch, secret


def derive(secret, info=LABEL):
    return HKDF(secret, 32, b"", SHA256, context=info)


class Keyring:
    """The secrets of a keyring file's text; None means a retired one."""

    def __init__(self, text):
        file = tomllib.loads(text)
        self.floor = file.get("min_epoch", 0)
        self.secrets = {}
        for entry in file["key"]:
            epoch, secret = read_secret(entry["secret"]) if "secret" in entry else (entry["epoch"], None)
            if epoch != entry["epoch"] or epoch in self.secrets:
                raise ValueError(f"epoch {entry['epoch']} appears twice or holds another's secret")
            self.secrets[epoch] = secret

    def opener(self, epoch):
        if epoch < self.floor:
            raise Fault("below_floor")
        if self.secrets.get(epoch):
            return self.secrets[epoch]
        if epoch in self.secrets:
            raise Fault("retired")
        raise Fault("newer" if epoch > max(self.secrets) else "absent")


def parse(text):
    """Service, epoch and decoded body of an AuthID as it is pasted."""
    text = re.sub("%3[Aa]", ":", text.strip(WHITE_SPACE))
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT:
        raise Fault("malformed")
    parts = text.split(":")
    if parts[0] == "v2" and len(parts) > 2:
        raise Fault("version2", read_service(parts[1]))
    if len(parts) > 1 and re.fullmatch("[0-9A-Fa-f]{30,32}", parts[0]):
        raise Fault("version1")
    if len(parts) != 4 or parts[0] != "v3":
        raise Fault("malformed")
    service, epoch, body = read_service(parts[1]), read_epoch(parts[2]), base64url(parts[3])
    if service is None or epoch is None or body is None or len(body) < 56:
        raise Fault("malformed")
    return service, epoch, body


class Spelled(str):
    """A string of JSON that knows how it was written."""

    @classmethod
    def scan(cls, text, start, strict):
        string, end = json.decoder.scanstring(text, start, strict)
        self = cls(string)
        self.is_escaped = "\\" in text[start : end - 1]
        return self, end


def decoder(**hooks):
    made = json.JSONDecoder(**hooks)
    made.parse_string = Spelled.scan
    made.scan_once = json.scanner.py_make_scanner(made)
    return made


def read_plaintext(plaintext):
    """The members that are known, the bind bytes in hex."""

    def natural(digits):
        # `int` would read -0 as 0, and refuses what no time has: thousands of digits.
        return -1 if digits.startswith("-") or len(digits) > 12 else int(digits)

    def no_json(name):
        raise ValueError(f"{name} is no JSON")

    try:
        if not plaintext.startswith(b"{"):
            raise ValueError("not an object")
        # Objects as lists of pairs: what an unknown member's object holds twice is its own affair.
        json_reader = decoder(object_pairs_hook=list, parse_int=natural, parse_constant=no_json)
        pairs = json_reader.decode(plaintext.decode("utf-8"))
        content = dict(pairs)
        if len(content) != len(pairs):
            raise ValueError("a member twice")
        token, bind = content["token"], base64url(content["bind"])
        app = content.get("app")
        if "app" in content and len(base64url(app) or b"") != 6:
            raise ValueError("app")
        if any(content[name].is_escaped for name in ("bind", "app") if name in content):
            raise ValueError("an escape")
        # A lone surrogate does not encode.
        "".join(content).encode("utf-8")
        if not isinstance(token, str) or not token.encode("utf-8") or bind is None or len(bind) != 32:
            raise ValueError("token or bind")
        for time in (content[name] for name in ("sealed", "login", "ends") if name in content):
            if type(time) is not int or not 0 <= time <= LAST_TIME:
                raise ValueError("a time")
        needed = {name: content[name] for name in ("sealed", "login")}
    except (KeyError, ValueError, TypeError) as error:
        raise Fault("forged") from error
    stated = {name: content[name] for name in ("app", "ends") if name in content}
    return {"token": token, **needed, "bind": bind.hex(), **stated}


def open_authid(keyring, text):
    """What is sealed in an AuthID, byte strings in hex.

    Raises Fault with the name of what is wrong.
    """
    service, epoch, body = parse(text)
    key = derive(keyring.opener(epoch))
    grant, nonce, ciphertext, tag = body[:16], body[16:40], body[40:-16], body[-16:]
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(LABEL + b"\0" + bytes([len(service)]) + service.encode() + epoch.to_bytes(4, "big") + grant)
    try:
        plaintext = cipher.decrypt_and_verify(ciphertext, tag)
    except ValueError as error:
        raise Fault("forged") from error
    return {"service": service, "epoch": epoch, "grant": grant.hex(), **read_plaintext(plaintext)}


def read_code(text):
    """Service, epoch, grant id and tag of a revoke code as it is pasted."""
    group = f"[{CODE_DIGITS}]{{8}}"
    parts = re.fullmatch(f"revoke:([^:]*):([^:]*):({group}(?:-{group}){{5}})", text.strip(WHITE_SPACE))
    if parts is None:
        raise Fault("malformed")
    service, epoch = read_service(parts[1]), read_epoch(parts[2])
    if service is None or epoch is None:
        raise Fault("malformed")
    number = 0
    for digit in parts[3].replace("-", ""):
        number = number * 32 + CODE_DIGITS.index(digit)
    body = number.to_bytes(30, "big")
    return service, epoch, body[:16], body[16:]


def check_code(keyring, text):
    """What a revoke code names, the grant id in hex.

    Raises Fault with the name of what is wrong.
    """
    service, epoch, grant, tag = read_code(text)
    info = CODE_LABEL + b"\0" + bytes([len(service)]) + service.encode() + grant
    if not hmac.compare_digest(derive(keyring.opener(epoch), info)[:14], tag):
        raise Fault("forged")
    return {"service": service, "epoch": epoch, "grant": grant.hex()}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as keyring_file:
        print(json.dumps(open_authid(Keyring(keyring_file.read()), sys.stdin.read()), indent=1))
