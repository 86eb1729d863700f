"""Tells results in the words of cargo's tests, so that `make test` counts them in one way.

What is asked of one operation in one phase is one test. One more for each operation says that it went well at least once:
an operation that always refuses keeps to the document without showing anything.
"""

from collections import defaultdict

import schemathesis
from schemathesis.engine import Status, events

# These can't go well here, and are tested elsewhere.
ELSEWHERE = {
    # It is a WebSocket: tests/stream.rs.
    "GET /v1/sandboxes/{id}/exec/stream",
    # It takes a proof by HMAC, and a certificate request: tests/hosts.rs.
    "POST /v1/hosts/join",
}
# What else is to be shown at least once, and whether it was.
shown = {}
WORST = [Status.SKIP, Status.SUCCESS, Status.INTERRUPTED, Status.FAILURE, Status.ERROR]


@schemathesis.cli.handler()
class Reporter(schemathesis.cli.EventHandler):
    def __init__(self, *args, **params):
        self.results = {}
        self.cases = defaultdict(int)
        self.asked = set()
        self.went_well = set()
        self.errors = []

    def handle_event(self, ctx, event):
        if isinstance(event, events.ScenarioFinished) and event.is_test_scenario:
            self.scenario(event)
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            self.errors.append(event)

    def scenario(self, event):
        test = f"{event.phase.value} {event.label}" if event.label else event.phase.value
        before = self.results.get(test, Status.SKIP)
        self.results[test] = max(before, event.status, key=WORST.index)
        self.cases[test] += len(event.recorder.interactions)
        for case, interaction in event.recorder.interactions.items():
            operation = event.recorder.cases[case].value.operation.label
            self.asked.add(operation)
            if interaction.response is not None and interaction.response.status_code < 300:
                self.went_well.add(operation)

    def shutdown(self, ctx):
        for operation in sorted(self.asked - ELSEWHERE):
            well = Status.SUCCESS if operation in self.went_well else Status.FAILURE
            self.results[f"success of {operation}"] = well
        for flow, well in shown.items():
            self.results[f"success of {flow}"] = Status.SUCCESS if well else Status.FAILURE
        words = {Status.SUCCESS: "ok", Status.SKIP: "ignored"}
        told = [(test, words.get(status, "FAILED")) for test, status in self.results.items()]
        print()
        for test, word in told:
            print(f"test {test} ... {word} ({self.cases[test]} calls)" if test in self.cases else f"test {test} ... {word}")
        count = lambda wanted: sum(word == wanted for _, word in told)
        failed = count("FAILED") + len(self.errors)
        verdict = "FAILED" if failed else "ok"
        print(f"\n{sum(self.cases.values())} calls in all")
        print(f"\ntest result: {verdict}. {count('ok')} passed; {failed} failed; {count('ignored')} ignored", flush=True)
