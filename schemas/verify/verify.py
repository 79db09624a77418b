#!/usr/bin/env python3
"""Checks an export of Colloquy with the log's public key alone. Python's standard library, nothing else.

    verify.py FILE --key KEY [--least SIZE_OR_TIME] [--kept CHECKPOINT_FILE]

Written from README.md beside it, RFC 8032 (Ed25519) and RFC 9162 (Merkle tree), independently of the
product's own verifier.
"""
import argparse
import base64
import functools
import hashlib
import json
import re
import sys
import uuid
from datetime import datetime, timedelta, timezone

# --- Ed25519, RFC 8032 section 6, for checking only -------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a, b):
    """Sum of two points in extended coordinates (x, y, z, xy/z)."""
    k = (a[1] - a[0]) * (b[1] - b[0]) % P
    m = (a[1] + a[0]) * (b[1] + b[0]) % P
    n, o = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = m - k, o - n, o + n, m + k
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, point):
    sum_ = (0, 1, 1, 0)
    while n:
        if n & 1:
            sum_ = add(sum_, point)
        point, n = add(point, point), n >> 1
    return sum_


def decompressed(text):
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if x * x % P != x2:
        x = x * ROOT_OF_MINUS_ONE % P
    if y >= P or x * x % P != x2 or (x == 0 and sign):
        raise ValueError("not a point")
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


def compressed(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decompressed((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


@functools.lru_cache(maxsize=4096)
def is_signature(key, text, signature):
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        return False
    x, y, z, t = decompressed(key)
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % ORDER
    return compressed(add(times(s, BASE), times(h, (P - x, y, z, P - t)))) == signature[:32]


# --- Signed notes, C2SP signed-note -----------------------------------------------------------------


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "not Base64 as it must be")
    return data


class Key:
    """A public key written name+id+base64."""

    def __init__(self, text):
        self.text = text
        self.name, id_, key = text.split("+", 2)
        data = unbase64(key)
        need(len(data) == 33 and data[0] == 1 and self.name and not re.search(r"\s", self.name), "not a key")
        self.bytes, self.id = data[1:], hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        need(self.id.hex() == id_, "not a key")


def opened(note):
    """Text and signatures (name, key id, signature) of a note."""
    text, below = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
    need(below.endswith("\n"), "not a note")
    signatures = []
    for line in below[:-1].split("\n"):
        dash, name, data = line.split(" ")
        data = unbase64(data)
        need(dash == "—" and len(data) == 68, "not a signature")
        signatures.append((name, data[:4], data[4:]))
    return text, signatures


def is_signed(text, signatures, key):
    mine = [s for n, i, s in signatures if n == key.name and i == key.id]
    return any(is_signature(key.bytes, text.encode(), s) for s in mine)


# --- The Merkle tree, RFC 9162 section 2.1 ----------------------------------------------------------


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_included(index, size, leaf, path, root):
    last = size - 1
    for sibling in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            leaf = node(sibling, leaf)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            leaf = node(leaf, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and leaf == root


def is_consistent(old, old_root, new, new_root, path):
    if old == 0 or old == new:
        return not path and (old == 0 or old_root == new_root)
    path = [old_root] + path if old & (old - 1) == 0 else path
    index, last = old - 1, new - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    if not path:
        return False
    of_old = of_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            of_old, of_new = node(sibling, of_old), node(sibling, of_new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            of_new = node(of_new, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and of_old == old_root and of_new == new_root


# --- The file ---------------------------------------------------------------------------------------


class Wrong(Exception):
    """The first thing that is wrong: line, position (0 before the first event), why."""

    def __init__(self, line, position, why):
        super().__init__(f"line {line}, position {position}: {why}")
        self.line, self.position, self.why = line, position, why


def need(holds, why):
    if not holds:
        raise ValueError(why)


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def micros(text):
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    need(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0") == text, "not a time")
    return (at - EPOCH) // timedelta(microseconds=1)


def number(value, n_bytes=8):
    need(type(value) is int, "not a number")
    return value.to_bytes(n_bytes, "big")


def id_bytes(text):
    need(type(text) is str and str(uuid.UUID(text)) == text, "not an id")
    return uuid.UUID(text).bytes


def unhex(text, n_bytes=None):
    data = bytes.fromhex(text)
    need(data.hex() == text and n_bytes in (None, len(data)), "not hex")
    return data


def written(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


FIELDS = (
    "position recorded_at company aggregate stream version event_id name schema_version command_id fingerprint "
    "correlation_id causation_id actor trace_parent occurred_at"
).split()


def event_leaf(event, payload_sha256):
    fields = [
        id_bytes(event["company"]),
        event["aggregate"].encode(),
        id_bytes(event["stream"]),
        number(event["version"]),
        id_bytes(event["event_id"]),
        event["name"].encode(),
        number(event["schema_version"], 2),
        id_bytes(event["command_id"]),
        unhex(event["fingerprint"]),
        id_bytes(event["correlation_id"]),
        b"" if event["causation_id"] is None else id_bytes(event["causation_id"]),
        event["actor"].encode(),
        b"" if event["trace_parent"] is None else event["trace_parent"].encode(),
        micros(event["occurred_at"]).to_bytes(8, "big", signed=True),
        payload_sha256,
    ]
    hash_ = hashlib.sha256(b"".join(len(f).to_bytes(8, "big") + f for f in fields)).digest()
    recorded_at = micros(event["recorded_at"]).to_bytes(8, "big", signed=True)
    return hashlib.sha256(b"\x00" + number(event["position"]) + recorded_at + hash_).digest()


def trusted_keys(line, given):
    """The auditor's key and those introduced after it, each by the one before and by itself."""
    chain = json.loads(line)
    first = Key(chain["first"])
    trusted = [first] if first.text == given.text else []
    for note in chain["introductions"]:
        text, signatures = opened(note)
        head, origin, key, time = text.splitlines()
        key = Key(key)
        micros(time.removeprefix("time "))
        need(text == f"colloquy log key v1\n{key.name}\n{key.text}\n{time}\n", "a key's introduction says nothing")
        if trusted:
            signers = (trusted[-1], key)
            is_introduced = key.name == given.name and all(is_signed(text, signatures, k) for k in signers)
            need(is_introduced, "a key is not introduced by the one before it")
            trusted.append(key)
        elif key.text == given.text:
            trusted.append(key)
    need(trusted, "the given public key is none of the log's")
    return trusted


def checkpoint(note, keys):
    """Text, size, root and time of a checkpoint that one of the keys has signed."""
    text, signatures = opened(note)
    origin, size, root, time = text.splitlines()
    is_plain = re.fullmatch("0|[1-9][0-9]*", size) and text == f"{origin}\n{size}\n{root}\n{time}\n"
    need(is_plain and time.startswith("time "), "the checkpoint cannot be read")
    need(any(origin == k.name and is_signed(text, signatures, k) for k in keys), "the checkpoint is not signed by the key")
    return text, int(size), unbase64(root), micros(time[5:])


def check_anchor(line, trusted, least, kept):
    anchor = json.loads(line)
    found = text, size, root, time = checkpoint(anchor["checkpoint"], trusted[-1:])
    if least is not None:
        enough = size >= int(least) if least.isdigit() else EPOCH + timedelta(microseconds=time) >= moment(least)
        need(enough, "the checkpoint is older than the least that is demanded")
    if kept is not None:
        _, old, old_root, old_time = checkpoint(kept, trusted)
        need(old <= size and old_time <= time, "the checkpoint is older than the one that was kept")
        proof = anchor["consistency"]
        path = [unbase64(h) for h in proof["path"]] if proof and proof["size"] == old else None
        need(path is not None or old in (0, size), "the file has no proof that it continues the kept checkpoint")
        need(is_consistent(old, old_root, size, root, path or []), "the log was rewritten since the kept checkpoint")
    return found


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def check_seal(line, signer, lines):
    seal = json.loads(line)
    text, signatures = opened(seal["seal"])
    is_ours = len(signatures) == 1 and is_signed(text, signatures, signer)
    need(written({"seal": seal["seal"]}) == line and is_ours, "the seal is not signed by the key")
    expected = ["colloquy export v1", signer.name] + [hashlib.sha256(line).hexdigest() for line in lines]
    stated = text[:-1].split("\n")
    need(len(stated) == 6 and stated[:2] == expected[:2], "the seal is that of something else")
    return [n for n in (1, 2, 3, 4) if stated[n + 1] != expected[n + 1]]


def verify(data, key, least=None, kept=None):
    """Checks the bytes of a file; answers what it proves, or raises Wrong."""
    lines = data.split(b"\n")
    rest = lines.pop()  # what follows the last newline: nothing, if the file is whole

    def step(line, position, check, *args):
        try:
            return check(*args)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise Wrong(line, position, str(error)) from None

    if len(lines) < 5:
        raise Wrong(len(lines) + 1, 0, "the line is missing or cut off")
    given = Key(key)
    trusted = step(2, 0, trusted_keys, lines[1], given)
    signer = trusted[-1]
    for n in step(5, 0, check_seal, lines[4], signer, lines[:4]):
        raise Wrong(n, 0, "the line is not the one that was sealed")
    header = step(1, 0, check_header, lines[0], signer)
    text, size, root, time = step(3, 0, check_anchor, lines[2], trusted, least, kept)
    step(1, 0, check_positions, header, size)
    heads = step(4, 0, check_heads, lines[3], header, text, signer)

    at, n_line, last = EPOCH, 5, 0
    versions, last_at = dict.fromkeys(heads, 0), None
    for first, last in header["positions"]:
        for position in range(first, last + 1):
            n_line += 1
            if n_line > len(lines):
                raise Wrong(n_line, position, "the event is missing or cut off")
            event = step(n_line, position, check_event, lines[n_line - 1], position, header, size, root)
            at = micros(event["recorded_at"])
            is_time = at <= time and (last_at is None or last_at <= at)
            step(n_line, position, need, is_time, "the log gave it a time that cannot be")
            last_at = at
            if heads:
                stream = (event["company"], event["aggregate"], event["stream"])
                is_next = versions.get(stream, -1) + 1 == event["version"]
                step(n_line, position, need, is_next, "the event is not the next one of a stream of this file")
                versions[stream] += 1
    if n_line < len(lines) or rest:
        raise Wrong(n_line + 1, last + 1, "there is more than the first line announces")
    if versions != heads:
        raise Wrong(n_line, last + 1, "a stream has fewer events than its signed head says")
    return {"of": header["of"], "size": size, "time": text.splitlines()[3][5:], "events": n_line - 5, "streams": len(heads)}


def check_header(line, signer):
    header = json.loads(line)
    is_known = header["format"] == "colloquy-export/1" and header["origin"] == signer.name
    need(is_known, "another format, or another log than the key's")
    need(header["payloads"] in ("included", "withheld"), "another format")
    return header


def check_positions(header, size):
    after = 0
    for first, last in header["positions"]:
        number(first), number(last)
        need(after < first <= last <= size, "the positions are not those of a tree of this size")
        after = last
    of = header["of"]
    names = [(s["company"], s["aggregate"], s["id"]) for s in header["streams"]]
    is_range = of["kind"] == "range" and len(header["positions"]) == 1 and not names
    is_record = of["kind"] in ("interview", "candidate") and (of["company"], of["kind"], of["id"]) in names
    need(is_range or is_record, "what the file is of is not in it")


def check_heads(line, header, checkpoint_text, signer):
    notes, heads = json.loads(line)["heads"], {}
    need(len(notes) == len(header["streams"]), "there is not one head for each stream")
    for stream, note in zip(header["streams"], notes):
        name = (stream["company"], stream["aggregate"], stream["id"])
        text, signatures = opened(note)
        version = text.split("\n")[2]
        need(re.fullmatch("0|[1-9][0-9]*", version), "a stream's head says nothing")
        expected = f"colloquy stream head v1\n{' '.join(name)}\n{version}\n{checkpoint_text}"
        need(text == expected and is_signed(text, signatures, signer), "a stream's head is not signed by the key")
        heads[name] = int(version)
    return heads


def check_event(line, position, header, size, root):
    event = json.loads(line)
    need(event["position"] == position, "another position's event stands here")
    kind = "payload" if header["payloads"] == "included" else "payload_sha256"
    need(kind in event, "the payload is not given as the first line says")
    again = {name: event[name] for name in FIELDS + [kind, "path"]}
    is_plain = written(again) == line and event["trace_parent"] != ""
    need(is_plain, "the line is not written as it must be")
    hashed = hashlib.sha256(unbase64(event[kind])).digest() if kind == "payload" else unhex(event[kind], 32)
    path = [unbase64(hash_) for hash_ in event["path"]]
    need(all(len(hash_) == 32 for hash_ in path), "not a hash")
    leaf = event_leaf(event, hashed)
    need(is_included(position - 1, size, leaf, path, root), "the event is not the one in the signed tree")
    return event


def main():
    parser = argparse.ArgumentParser(description="Checks an export of Colloquy with the log's public key alone.")
    parser.add_argument("file")
    parser.add_argument("--key", required=True, help="the log's public key, name+id+base64")
    parser.add_argument("--least", help="oldest checkpoint that will do: a number of events, or a time")
    parser.add_argument("--kept", help="file with a checkpoint kept from before, which must be continued")
    given = parser.parse_args()
    try:
        Key(given.key)
    except ValueError:
        parser.error("--key: a public key is written name+id+base64")
    try:
        given.least is None or given.least.isdigit() or EPOCH < moment(given.least)
    except (ValueError, TypeError):
        parser.error("--least: give a number of events, or a time such as 2026-01-31T12:00:00Z")
    kept = open(given.kept, encoding="utf-8").read() if given.kept else None
    try:
        proven = verify(open(given.file, "rb").read(), given.key, given.least, kept)
    except Wrong as wrong:
        print(f"WRONG  {wrong}")
        return 1
    print(f"TRUE   {proven['events']} events, {proven['streams']} whole streams, "
          f"complete as of {proven['time']} ({proven['size']} events in the log)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
