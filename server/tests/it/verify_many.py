"""Lets the Python verifier judge many files in one process, for the tests.

Argument: the key. Input: for each file its length (8 bytes, big-endian) and its bytes. Output: one line for each,
`true`, or line and position of what is wrong.
"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "schemas" / "verify"))
import verify  # noqa: E402

while length := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(int.from_bytes(length, "big"))
    try:
        verify.verify(data, sys.argv[1])
        print("true")
    except verify.Wrong as wrong:
        print(wrong.line, wrong.position)
