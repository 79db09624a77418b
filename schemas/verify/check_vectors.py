#!/usr/bin/env python3
"""Lets verify.py judge every case of vectors/vectors.json; fails if it judges one otherwise."""
import json
import pathlib
import sys

import verify

FOLDER = pathlib.Path(__file__).parent / "vectors"


def edited(data, edit):
    """The bytes of a file after the edit of a case."""
    if "cut_bytes" in edit:
        return data[: -edit["cut_bytes"]]
    lines = data.split(b"\n")
    if "drop_line" in edit:
        del lines[edit["drop_line"] - 1]
    elif "repeat_line" in edit:
        lines.insert(edit["repeat_line"], lines[edit["repeat_line"] - 1])
    elif "swap_lines" in edit:
        a, b = (line - 1 for line in edit["swap_lines"])
        lines[a], lines[b] = lines[b], lines[a]
    else:
        line, before = edit["line"] - 1, lines[edit["line"] - 1]
        lines[line] = before.replace(edit["from"].encode(), edit["to"].encode(), 1)
        if lines[line] == before:
            raise SystemExit(f"the edit changes nothing: {edit}")
    return b"\n".join(lines)


def judged(case):
    data = (FOLDER / f"{case['file']}.ndjson").read_bytes()
    if "edit" in case:
        data = edited(data, case["edit"])
    try:
        proven = verify.verify(data, case["key"], case.get("least"), case.get("kept"))
    except verify.Wrong as wrong:
        return {"wrong": {"line": wrong.line, "position": wrong.position}}, wrong.why
    return {"true": {name: proven[name] for name in ("events", "streams", "size")}}, ""


def main():
    cases = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))["cases"]
    n_wrong = 0
    for case in cases:
        said, why = judged(case)
        is_right = said == case["expect"]
        n_wrong += not is_right
        print("ok  " if is_right else "FAIL", case["name"], "" if is_right else f"expected {case['expect']},", said, why)
    print(f"{len(cases) - n_wrong} of {len(cases)} as expected")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
