#!/usr/bin/env python3
"""Checks records of the topics against the committed contracts, with public validators.

    kcat -C -J -e -b BROKER -o beginning -X isolation.level=read_committed -t TOPIC… |
        schemas/validate.py --specification 3.0.0.json [--prefix colloquy]

Reads what `kcat -J` prints, a JSON object for each record, and needs `jsonschema[format]` from PyPI. The
specification is AsyncAPI's own JSON Schema (schemas/3.0.0.json of the npm package @asyncapi/specs).

1. The AsyncAPI document fits the specification, and each of its references leads somewhere.
2. Each schema is a JSON Schema 2020-12.
3. Each record's topic is a channel, its type a message of that channel, its key and headers fit the message, its
   `ce_dataschema` is the `$id` of the payload's schema, and its value fits that schema.

Exit code 1 and a line for each problem, without the record's content, where anything does not hold.
"""

import argparse
import collections
import json
import pathlib
import sys

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

HERE = pathlib.Path(__file__).resolve().parent


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lookup(document, pointer):
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def references(value):
    if isinstance(value, dict):
        for name, child in value.items():
            if name == "$ref":
                yield child
            else:
                yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


class Contracts:
    def __init__(self, folder, prefix):
        self.folder, self.prefix = folder, prefix
        self.document = load(folder / "asyncapi.json")
        self.channels = {c["address"]: c for c in self.document["channels"].values()}
        self.validators = {}
        self.problems = []

    def problem(self, text):
        self.problems.append(text)

    def check_document(self, specification):
        # Formats apart: the specification uses some that are no standard ones.
        for error in Draft7Validator(load(specification)).iter_errors(self.document):
            self.problem(f"asyncapi.json: {best_match([error]).message[:300]}")
        n_files = 0
        for reference in references(self.document):
            if reference.startswith("#/"):
                try:
                    lookup(self.document, reference)
                except KeyError:
                    self.problem(f"asyncapi.json: {reference} leads nowhere")
            else:
                n_files += 1
                if not (self.folder / reference).is_file():
                    self.problem(f"asyncapi.json: there is no file {reference}")
        return n_files

    def check_schemas(self):
        n_schemas = 0
        for path in sorted(self.folder.glob("events/**/*.json")):
            if not path.name.endswith(".sample.json"):
                n_schemas += 1
                Draft202012Validator.check_schema(load(path))
        return n_schemas

    def message(self, record):
        """The message that describes a record, with validators of its headers and its value."""
        topic = record["topic"]
        if not topic.startswith(self.prefix + "."):
            raise ValueError(f"topic {topic} is not one of {self.prefix}")
        channel = self.channels.get("colloquy" + topic.removeprefix(self.prefix))
        if channel is None:
            raise ValueError(f"topic {topic} is no channel")
        found = record.get("headers") or []
        headers = dict(zip(found[::2], found[1::2]))
        if len(headers) * 2 != len(found):
            raise ValueError("a header stands there twice")
        name = headers.get("ce_type")
        if name not in self.validators:
            self.validators[name] = self.validators_of(channel, name)
        return headers, self.validators[name]

    def validators_of(self, channel, name):
        messages = [lookup(self.document, m["$ref"]) for m in channel["messages"].values()]
        found = [message for message in messages if message["name"] == name]
        if len(found) != 1:
            raise ValueError(f"type {name} is no message of {channel['address']}")
        (message,) = found
        schema = load(self.folder / message["payload"]["schema"]["$ref"])
        of_headers = {**message["headers"], "components": self.document["components"]}
        formats = FormatChecker()
        return {
            "$id": schema["$id"],
            "key": Draft7Validator(message["bindings"]["kafka"]["key"], format_checker=formats),
            "headers": Draft7Validator(of_headers, format_checker=formats),
            "value": Draft202012Validator(schema, format_checker=formats),
        }

    def check_record(self, record):
        where = f"{record['topic']} [{record['partition']}] {record['offset']}"
        try:
            headers, message = self.message(record)
            value = json.loads(record["payload"] or "")
        except ValueError as error:
            self.problem(f"{where}: {error}")
            return None
        parts = {"key": record["key"], "headers": headers, "value": value}
        for part, value in parts.items():
            for error in message[part].iter_errors(value):
                # Not the message, which quotes the value.
                place = "/".join(map(str, error.absolute_path))
                self.problem(f"{where}: {part}/{place} does not hold to `{error.validator}`")
        if headers.get("ce_dataschema") != message["$id"]:
            self.problem(f"{where}: ce_dataschema is not {message['$id']}")
        return headers["ce_type"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--specification", type=pathlib.Path, required=True)
    arguments.add_argument("--schemas", type=pathlib.Path, default=HERE)
    arguments.add_argument("--prefix", default="colloquy")
    given = arguments.parse_args()

    contracts = Contracts(given.schemas, given.prefix)
    n_files = contracts.check_document(given.specification)
    print(f"asyncapi.json: {len(contracts.channels)} channels, {n_files} references to schemas")
    print(f"schemas: {contracts.check_schemas()} are JSON Schema 2020-12")

    n_records, types, topics = 0, collections.Counter(), collections.Counter()
    for line in sys.stdin:
        record = json.loads(line)
        n_records += 1
        topics[record["topic"]] += 1
        types[contracts.check_record(record)] += 1
    for topic, n in sorted(topics.items()):
        print(f"  {n:6} {topic}")
    print(f"records: {n_records} of {len(types)} types in {len(topics)} topics")
    if n_records == 0:
        contracts.problem("there was no record")
    for problem in contracts.problems:
        print(f"PROBLEM {problem}", file=sys.stderr)
    print("all valid" if not contracts.problems else f"{len(contracts.problems)} problems")
    return 1 if contracts.problems else 0


if __name__ == "__main__":
    sys.exit(main())
