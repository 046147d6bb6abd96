"""The core's side of access, written from docs/uplink.md and the standard library alone (and `cryptography` for ed25519).

    core.py public SEED                 prints the public key of a seed of 64 hexadecimal digits, in base64
    core.py snapshot ORDER              prints the messages for the topic `credentials`, one a line

ORDER is JSON: `seed` and `lookup_key` (64 hexadecimal digits each), `header` (whatever of its fields is to be said),
`entries`, and maybe `parts` (1) and `alter`: which byte after the header is altered once it was signed. An entry is one of
the format's, with `of` in place of `id`: the text that is hashed, for example
{"put": {"of": "card/H10301-26/12/3456", "kind": "card", "who": "p-1", "class": "resident", "gates": ["entry"]}}.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def keyed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def entry(key, change):
    ((verb, what),) = change.items()
    if verb == "put":
        what = dict(what)
        return {verb: {"id": keyed(key, what.pop("of"))[:32], **what}}
    return {verb: keyed(key, what["of"])[:32]}


def snapshot(order):
    key, signer = bytes.fromhex(order["lookup_key"]), Ed25519PrivateKey.from_private_bytes(bytes.fromhex(order["seed"]))
    entries = [entry(key, change) for change in order["entries"]]
    now = int(time.time())
    header = {
        "format": "gatehouse-credentials/1",
        "lookup_key": keyed(key, "gatehouse lookup key")[:16],
        "created": now,
        "expires_at": now + 86400,
        "count": len(entries),
        **order["header"],
    }
    head = json.dumps(header) + "\n"
    text = (head + "".join(json.dumps(one) + "\n" for one in entries)).encode()
    text += (json.dumps({"signature": signer.sign(text).hex()}) + "\n").encode()
    if "alter" in order:
        at = len(head) + order["alter"]
        text = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    return text


def messages(order):
    text, parts = snapshot(order), order.get("parts", 1)
    size = -(-len(text) // parts)
    name = "snap-" + hashlib.sha256(text).hexdigest()[:16]
    for part in range(parts):
        data = base64.b64encode(text[part * size : (part + 1) * size]).decode()
        yield {"v": 1, "id": name, "part": part + 1, "of": parts, "data": data}


def main(what, argument):
    if what == "public":
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(argument)).public_key()
        print(base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode())
    else:
        for message in messages(json.loads(argument)):
            print(json.dumps(message))


main(*sys.argv[1:])
