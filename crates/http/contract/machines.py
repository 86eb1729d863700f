"""What the contract tests do otherwise over real virtual machines, each of which costs seconds and memory.

Few are made, small ones, and those that a case makes end a few cases later. What went well is looked at: that a command ran,
that a file has what was written, that a machine which was paused and resumed still does what it is told.
"""

import base64
import itertools
from collections import deque

import schemathesis

import reporter
from asking import ME, SMALL, URL, look, made

# What is refused for a reason that the document can't have: what a guest has on its disk, and what its host opens to it.
REFUSALS = [
    "no user is called",
    "is a directory",
    "is not a directory",
    "is not a regular file",
    "No such file or directory",
    "File name too long",
    "is never opened to a sandbox",
    "is private, and this host does not open it to sandboxes",
]
# Who is at home in a guest, with all rights and with few.
USERS = ["root", "user"]
# So many that cases made live on, for the calls of a chain that are about them.
LIVE_ON = 2

made_by_cases = deque()
turns = itertools.count()

for flow in ("a command", "a file", "a pause", "a resume"):
    reporter.shown[flow] = False


def bound(case):
    """Asks for what there is, and no more of it, where what is asked for keeps to the document."""
    body = case.body
    # A form that is touched is no longer known to keep to it.
    if not isinstance(body, dict) or case.operation.path.endswith("/write") or not case.meta.generation.mode.is_positive:
        return
    if body.get("user") is not None:
        body["user"] = USERS[len(body["user"]) % len(USERS)]
    if case.operation.path.endswith("/read") and next(turns) % 2:
        body["path"] = "/etc/hostname"
    # Each of its children is a machine.
    if case.operation.path.endswith("/fork"):
        body["count"] = 1
    if case.operation.label != "POST /v1/sandboxes":
        return
    for field in ("vcpus", "memory_mb"):
        asked, most = body.get(field), SMALL[field]
        # Zero and less are the default, which is larger.
        body[field] = most if asked is None or asked < 1 else max(most // 2, min(asked, most))
    if body.get("template") is not None:
        body["template"] = "minimal"
    # One that ends meanwhile would show nothing.
    if (body.get("timeout_sec") or 0) > 0:
        body["timeout_sec"] = max(body["timeout_sec"], 60)


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code not in (201, 202):
        return
    if case.operation.label == "POST /v1/sandboxes":
        made_by_cases.append(response.json()["id"])
    if case.operation.path.endswith("/fork"):
        made_by_cases.extend(one["sandbox"]["id"] for one in response.json()["results"] if "sandbox" in one)
    while len(made_by_cases) > LIVE_ON:
        made(ME.delete(f"{URL}/v1/sandboxes/{made_by_cases.popleft()}"))


@schemathesis.check
def it_happened(ctx, response, case):
    # What came of an earlier call tells nothing of this one.
    if response.status_code >= 300 or "idempotency-replayed" in response.headers:
        return
    sandbox = f"{URL}/v1/sandboxes/{case.path_parameters.get('id')}"
    match case.operation.label.removeprefix("POST /v1/sandboxes/{id}/"):
        case "exec" if case.body["cmd"] == "echo":
            told, words = response.json(), case.body.get("args", [])
            if told.get("timed_out") or any(word.startswith("-") for word in words):
                return
            printed = told["stdout"].encode() if told["encoding"] == "utf-8" else base64.b64decode(told["stdout"])
            assert (told["exit_code"], printed) == (0, " ".join(words).encode() + b"\n"), told
            reporter.shown["a command"] = True
        case "files/write" | "files/stream/write":
            form = case.body
            there = made(ME.post(f"{sandbox}/files/read", json={"path": form["path"]})).content
            written = form["file"]
            # What is no text is a text without anything in it, which has the bytes beside it.
            written = getattr(written, "data", None) or written.encode()
            assert there == written, f"{form['path']} has {there!r}, and not {written!r}"
            reporter.shown["a file"] = True
        case "pause":
            assert response.json()["status"] == "paused", response.json()
            assert look(response.json()["id"])["status"] == "paused"
            reporter.shown["a pause"] = True
        case "resume":
            told = made(ME.post(f"{sandbox}/exec", json={"cmd": "sh", "args": ["-c", "exit 7"]})).json()
            assert told["exit_code"] == 7, told
            reporter.shown["a resume"] = True
