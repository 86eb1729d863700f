"""What the contract tests ask for themselves, to have something that their cases are about."""

import os
import time

import requests

URL = os.environ["CONTRACT_URL"]
ME = requests.Session()
ME.headers["X-API-Key"] = os.environ["WRENN_API_KEY"]

# Enough for the template, little enough for several at once; nobody ends it meanwhile.
SMALL = {"vcpus": 1, "memory_mb": 256, "timeout_sec": 3600}

# The sandboxes that many cases are about, by what they are for.
kept = {}


def made(answer):
    assert answer.ok, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer


def look(sandbox):
    """How it is, when nothing is under way."""
    for _ in range(600):
        now = made(ME.get(f"{URL}/v1/sandboxes/{sandbox}")).json()
        if "transition" not in now:
            return now
        time.sleep(0.1)
    raise AssertionError(f"it does not come to rest: {now}")


def in_status(status, purpose):
    """The one that is kept for this, in this status, whatever a case has made of it."""
    before = look(kept[purpose])["status"] if purpose in kept else None
    if before not in ("running", "paused"):
        kept[purpose], before = made(ME.post(f"{URL}/v1/sandboxes", json=SMALL)).json()["id"], "running"
    if before != status:
        made(ME.post(f"{URL}/v1/sandboxes/{kept[purpose]}/{'pause' if status == 'paused' else 'resume'}"))
    return kept[purpose]
