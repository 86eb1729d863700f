"""What the contract tests know of Wrenn beyond its document: what there is, and what must stay.

The document can't say which sandboxes exist. So that calls are not all about nothing, each that is well-formed is about one
that is there, in the state that the call is for; what is malformed on purpose stays as it is. In the stateful phase, calls
are about what the calls before them made.
"""

import itertools
import os
import re

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

import reporter  # noqa: F401  It registers itself.
from asking import ME, URL, in_status, kept, made

# Over real virtual machines, or a fake agent.
REAL = "CONTRACT_REAL" in os.environ
if REAL:
    import machines

# The key that everything is asked with: revoked, it would end the tests.
OWN_KEY = next(key["id"] for key in ME.get(f"{URL}/v1/keys").json() if key["name"] == "contract")

turns = itertools.count()

# All that the fake agent says of what is in a guest.
REFUSALS = ["this is a folder", "there is no such file", "there is no such program"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path.endswith("/events") and next(turns) % 2:
        # Each form of the answer in its turn; of a stream the first event is read.
        case.headers["Accept"] = "application/json"
    in_order(case)
    names_what_there_is(case)
    if REAL:
        machines.bound(case)
    named = case.path_parameters
    if not named:
        return
    if names_well(case) and case.meta.phase.name != "stateful":
        named.update(existing(case))
    if named.get("id") == OWN_KEY:
        named["id"] = a_key()
    # Limits on the team that asks would make every later create a refusal.
    if case.operation.path.startswith("/v1/teams") and case.method == "PUT" and named.get("name") == "default":
        named["name"] = "red"
    # The template that all sandboxes are made from.
    if case.operation.path.startswith("/v1/snapshots") and named.get("name") == "minimal":
        named["name"] = "python"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Leaves out what the document can't know."""
    # Who sends a call again is told what came of the first, which was as it should be. Uploads are told apart by their
    # sandbox alone: docs/errors.md.
    if isinstance(failure, AcceptedNegativeData) and "idempotency-replayed" in response.headers:
        return False
    # In a form everything is text, whatever it was before: `{}` is as good a name of a user as another.
    if isinstance(failure, AcceptedNegativeData) and case.operation.path.endswith("/write"):
        if set(re.findall(r"violates `(\w+)`", failure.message)) == {"type"}:
            return False
    # Which files, folders and programs a guest has, and what its host opens to it.
    if isinstance(failure, (RejectedPositiveData, EnsureResourceAvailability)):
        return not any(refusal in response.text for refusal in (machines.REFUSALS if REAL else REFUSALS))
    return True


def in_order(case):
    """Brings a form's parts into the order that their route needs, and for which a schema has no word."""
    form = case.body
    streams = case.operation.path.endswith("/files/stream/write")
    if isinstance(form, dict) and "file" in form and (streams or "user" in form):
        form["file"] = form.pop("file")


def names_what_there_is(case):
    """What a body names that keeps to the document: a sandbox to make a snapshot of, a template for a pool."""
    body = case.body
    if not isinstance(body, dict) or not case.meta.generation.mode.is_positive:
        return
    if case.operation.label == "POST /v1/snapshots" and case.meta.phase.name != "stateful":
        body["sandbox_id"] = running()
    if case.operation.label == "POST /v1/pools":
        body["template"] = "minimal"
        if REAL:
            # Each other shape is a boot, and each other number as much of the host's memory.
            body.update(vcpus=1, memory_mb=512, count=1, started=0)
        # That one of the two is more than 0 no schema says.
        if not body.get("count") and not body.get("started"):
            body["count"] = 1


def names_well(case):
    """Whether what the path names is named as the document wants it."""
    path = case.meta.components.get(ParameterLocation.PATH)
    return path is None or path.mode.is_positive


def existing(case):
    """What this call is to be about."""
    path = case.operation.path
    if path.startswith("/v1/keys/"):
        return {"id": a_key()}
    if path.startswith("/v1/snapshots/"):
        return {"name": "python"}
    if not path.startswith("/v1/sandboxes/"):
        return {}
    if case.method == "DELETE":
        return {"id": in_status("running", "doomed")}
    if path.endswith("/pause"):
        return {"id": in_status("running", "spare")}
    if path.endswith("/resume"):
        return {"id": in_status("paused", "spare")}
    return {"id": running()}


def running():
    """One that runs, and has the file that the document's examples read."""
    before = kept.get("running")
    sandbox = in_status("running", "running")
    if sandbox != before:
        form = {"path": (None, "/etc/hostname"), "file": ("hostname", "box\n")}
        made(ME.post(f"{URL}/v1/sandboxes/{sandbox}/files/write", files=form))
    return sandbox


def a_key():
    return made(ME.post(f"{URL}/v1/keys", json={"name": "made"})).json()["id"]


def range_of(address, prefix):
    host = 32 - prefix
    bits = address >> host << host
    text = ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))
    return text if prefix == 32 else f"{text}/{prefix}"


# A format of the document's own: no pattern can say that no bit is set behind the prefix.
schemathesis.openapi.format(
    "ipv4-range",
    st.builds(range_of, st.integers(0, 2**32 - 1), st.integers(0, 32)),
)
