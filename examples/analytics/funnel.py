#!/usr/bin/env python3
"""The hiring funnel of every job, from one topic alone.

    examples/analytics/funnel.py --broker localhost:9092 [--topic colloquy.application.v1] [--json]

Needs Python 3.9 or later and `kcat`, nothing else. It reads the applications' topic, or its twin without personal data
(`--topic colloquy.public.application.v1`), and shows three things that every consumer must do:

* read committed records only, so that what a broken relay left behind is never seen;
* trust `ce_streamversion` and nothing else: drop a version seen before, and notice one that is missing;
* know an event by `ce_type`, and leave alone what it does not know.

Exit code 1 where versions are missing: the numbers are then not complete, and the report says which.
"""

import argparse
import collections
import json
import subprocess
import sys

# The way forward. Screening may be left out, so whoever got further counts as having come by.
STEPS = ["NEW", "SCREENING", "INTERVIEWING", "OFFERED", "HIRED"]
ENDS = ["REJECTED", "WITHDRAWN"]


def records(broker, topic):
    """The topic's committed records from the beginning to where it ends now."""
    command = ["kcat", "-C", "-J", "-e", "-q", "-b", broker, "-t", topic, "-o", "beginning"]
    command += ["-X", "isolation.level=read_committed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as kcat:
        for line in kcat.stdout:
            record = json.loads(line)
            headers = record["headers"]
            yield record, dict(zip(headers[::2], headers[1::2]))
    if kcat.returncode != 0:
        raise SystemExit(f"kcat failed with {kcat.returncode}")


class Application:
    """What is known of one application after its events in order."""

    def __init__(self):
        self.version = 0
        self.company = self.job = self.status = None
        self.furthest = 0

    def apply(self, kind, headers, data):
        if kind == "submitted":
            self.company = headers["ce_source"].split("/")[2]
            self.job = data["job_id"]
            self.become("NEW")
        elif kind == "status_changed":
            self.become(data["to"])
        elif kind == "withdrawn":
            self.become("WITHDRAWN")

    def become(self, status):
        self.status = status
        if status in STEPS:
            self.furthest = max(self.furthest, STEPS.index(status))


class Consumer:
    def __init__(self):
        self.applications = collections.defaultdict(Application)
        self.waiting = collections.defaultdict(dict)
        self.positions = {}
        self.n_events = self.n_dropped = 0
        self.problems = []

    def take(self, record, headers):
        stream, version = record["key"], int(headers["ce_streamversion"])
        self.check_order(record, int(headers["ce_position"]))
        application = self.applications[stream]
        if version <= application.version or version in self.waiting[stream]:
            self.n_dropped += 1
            return
        self.waiting[stream][version] = (headers, json.loads(record["payload"]))
        # What comes before its predecessor waits for it.
        while (found := self.waiting[stream].pop(application.version + 1, None)) is not None:
            headers, data = found
            # colloquy.application.submitted.v1, or colloquy.public.application.submitted.v1.
            aggregate, kind = headers["ce_type"].split(".")[-3:-1]
            if aggregate == "application":
                application.apply(kind, headers, data)
            application.version += 1
            self.n_events += 1

    def check_order(self, record, position):
        """Positions grow within a partition: anything else is another log's topic, or a mixed one."""
        before = self.positions.get(record["partition"], 0)
        if position < before:
            self.problems.append(f"partition {record['partition']}: {position} after {before}")
        self.positions[record["partition"]] = max(before, position)

    def missing(self):
        for stream, later in sorted(self.waiting.items()):
            if later:
                known = self.applications[stream].version
                yield f"application {stream}: versions {known + 1} to {min(later) - 1} are missing"

    def funnels(self):
        jobs = collections.defaultdict(list)
        for application in self.applications.values():
            if application.job is not None:
                jobs[application.company, application.job].append(application)
        for (company, job), applications in sorted(jobs.items()):
            reached = [sum(a.furthest >= i for a in applications) for i in range(len(STEPS))]
            yield {
                "company": company,
                "job": job,
                "applications": len(applications),
                "reached": dict(zip(STEPS, reached)),
                "conversion": {
                    f"{STEPS[i]} to {STEPS[i + 1]}": round(reached[i + 1] / reached[i], 4)
                    for i in range(len(STEPS) - 1)
                    if reached[i]
                },
                "now": {
                    status: sum(a.status == status for a in applications) for status in STEPS + ENDS
                },
            }


def report(funnels):
    for funnel in funnels:
        print(f"\njob {funnel['job']} of company {funnel['company']}")
        for i, step in enumerate(STEPS):
            n = funnel["reached"][step]
            rate = funnel["conversion"].get(f"{STEPS[i - 1]} to {step}") if i else None
            share = "" if rate is None else f"{rate:7.0%} of {STEPS[i - 1].lower()}"
            print(f"  {step:<13}{n:6}  {'#' * min(n, 40):<12}{share}")
        print("  " + ", ".join(f"{end.lower()} {funnel['now'][end]}" for end in ENDS))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--broker", default="localhost:9092")
    arguments.add_argument("--topic", default="colloquy.application.v1")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = arguments.parse_args()

    consumer = Consumer()
    for record, headers in records(given.broker, given.topic):
        consumer.take(record, headers)
    problems = consumer.problems + list(consumer.missing())
    funnels = list(consumer.funnels())
    if given.json:
        summary = {"events": consumer.n_events, "dropped": consumer.n_dropped, "problems": problems}
        print(json.dumps({**summary, "funnels": funnels}, indent=2))
    else:
        report(funnels)
        print(f"\n{consumer.n_events} events, {consumer.n_dropped} seen before and dropped")
        for problem in problems:
            print(f"INCOMPLETE {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
