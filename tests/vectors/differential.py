"""Two readers, one format: makes AuthIDs at random, right and wrong, and says what authid_reader.py makes of each.

    differential.py write SEED COUNT     a JSON line each: [AuthID, outcome]; keyring.toml opens them
    differential.py read < texts         texts as JSON strings, a line each; a JSON line each: outcome

An outcome is what the AuthID opens to, or the name of its fault and the service that a version 2 AuthID names.
tests/vectors/differential.rs compares it with what the server's own reader says.
"""

import json
import random
import sys
from functools import cache

import authid_reader
from authid_reader import Fault, Keyring, open_authid
from make_vectors import ABSENT, FLOORED, FOLDER, HIGHEST, LAST_TIME, OPEN, PRIMARY, RETIRED, STAGED, Sealed, base64url, compact

authid_reader.derive = cache(authid_reader.derive)
KEYRING = Keyring((FOLDER / "keyring.toml").read_text())
CHARACTERS = "azAZ09-_.:%3A+/= \n\t\0é鍵\U0001f511\"\\"
TIMES = (0, 1, LAST_TIME, LAST_TIME + 1, 1795420000, 2**53, 2**63, 2**64)
# JSON, and what is nearly JSON, to stand where a value does.
VALUES = (
    "null true false 0 -0 1 -1 1.0 1e3 01 +1 0x1 1795420000 253402300800 1e400 .5 5. NaN Infinity -Infinity "
    '"" "x" "\\u0000" "\\ud83d" "\\ud83d\\udd11" "\\x" "\t" [] {} [1,2] [1,] {"a":1,"a":2} {"a":[{}]} AAAAAAAA "AAAAAAAA" "AAAAAAAB=" '
    '"AAAAAAA" "AAAAAAAAA" \'x\' tru'
).split(" ") + ["[ 1 ,\n2 ]", "", "[" * 50 + "]" * 50, "9" * 30, "9" * 5000, '"' + "A" * 43 + '"', '"' + "A" * 42 + '"']
NAMES = ["token", "sealed", "login", "bind", "app", "ends", "Token", "", "x", "\\u0074oken", "\\ud83d", "é"]


def outcome(text):
    try:
        return open_authid(KEYRING, text)
    except Fault as fault:
        return {"expect": fault.name, "service": fault.service}


def any_token(dice):
    return "".join(dice.choices(CHARACTERS + "0123456789abcdef" * 3, k=dice.randint(1, dice.choice((8, 200, 3000)))))


def any_parts(dice):
    stated = {}
    if dice.random() < 0.4:
        stated["app"] = base64url(dice.randbytes(6))
    if dice.random() < 0.4:
        stated["ends"] = dice.randint(0, LAST_TIME)
    return {
        "service": "".join(dice.choices("abcz019._-", k=dice.randint(1, 32))),
        "epoch": dice.choice((PRIMARY, PRIMARY, OPEN, STAGED)),
        "token": any_token(dice),
        "login": dice.randint(0, LAST_TIME),
        "sealed": dice.randint(0, LAST_TIME),
        "grant": dice.randbytes(16),
        "nonce": dice.randbytes(24),
        "bind": dice.randbytes(32),
        **stated,
    }


def edited(dice, text, spare):
    """The text with one to three small edits; `spare` are the characters that an edit puts in."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(text) + 1) if dice.random() < 0.5 else dice.randrange(min(len(text), 60) + 1)
        cut = at + dice.choice((0, 0, 1, 1, 2, 40))
        text = text[:at] + "".join(dice.choices(spare, k=dice.choice((0, 1, 1, 2)))) + text[cut:]
    return text


def odd_plaintext(dice, sealed):
    """A plaintext that a right writer would not write; some are right all the same."""
    members = [[json.dumps(name), compact(value).decode()] for name, value in sealed.members().items()]
    for _ in range(dice.choice((1, 1, 2, 3))):
        match dice.randrange(6):
            case 0:
                dice.choice(members)[1] = dice.choice(VALUES)
            case 1:
                members.insert(dice.randint(0, len(members)), [f'"{dice.choice(NAMES)}"', dice.choice(VALUES)])
            case 2:
                members.insert(0, list(dice.choice(members)))
            case 3:
                dice.shuffle(members)
            case 4:
                dice.choice(members)[1] = str(dice.choice(TIMES))
            case 5:
                part, side = dice.choice(members), dice.randrange(2)
                at = dice.randrange(len(part[side]) + 1)
                spelled = "".join(f"\\u{ord(character) & 0xFFFF:04x}" for character in part[side][at : at + 1])
                part[side] = part[side][:at] + spelled + part[side][at + 1 :]
    space = dice.choice(("", "", "", " ", "\n", "\u00a0", "\f"))
    text = "{" + ",".join(f"{space}{name}:{space}{value}" for name, value in members) + space + "}"
    if dice.random() < 0.2:
        text = edited(dice, text, '{}[]",:\\u0 \n1eé\0')
    plaintext = text.encode()
    match dice.randrange(20):
        case 0:
            return plaintext + dice.choice((b" ", b"\n", b"\0", b"{}", b","))
        case 1:
            return dice.choice((b" ", b"\xef\xbb\xbf", b"[")) + plaintext
        case 2:
            at = dice.randrange(len(plaintext))
            return plaintext[:at] + dice.randbytes(1) + plaintext[at + 1 :]
    return plaintext


def any_text(dice, name):
    parts = any_parts(dice)
    sealed = Sealed(name, **parts)
    match dice.randrange(6):
        case 0 | 1:
            return sealed.text()
        case 2:
            return edited(dice, sealed.text(), CHARACTERS)
        case 3:
            epoch = dice.choice((ABSENT, FLOORED, RETIRED, HIGHEST, PRIMARY, OPEN, 0, -1, "05", ""))
            service = dice.choice((sealed.service, "googledrive", "A", "a" * 33))
            return sealed.text(epoch=epoch, service=service)
    return Sealed(name, **parts, plaintext=odd_plaintext(dice, sealed)).text()


def write(seed, count):
    dice = random.Random(seed)
    for number in range(count):
        text = any_text(dice, f"{seed} {number}")
        yield [text, outcome(text)]


if __name__ == "__main__":
    if sys.argv[1] == "write":
        lines = write(int(sys.argv[2]), int(sys.argv[3]))
    else:
        lines = (outcome(json.loads(line)) for line in sys.stdin)
    for line in lines:
        print(json.dumps(line))
