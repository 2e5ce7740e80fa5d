"""A server process for the length of a test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests


class Served:
    """A running `carry exchange`: its urls, its process, and its lockstep endpoint."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, str]) -> None:
        self.process = process
        self.url = ready["url"]
        self.ws_url = ready["ws_url"]
        self.ready = ready
        self.http = requests.Session()
        self.http.trust_env = False

    def post(self, path: str, body: Any) -> Any:
        return self.http.post(self.url + path, json=body, timeout=20).json()

    def wait(self, ms: int, **more: Any) -> Any:
        return self.post("/lockstep", {"type": "wait", "ms": ms, **more})

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


@contextmanager
def serve(*arguments: str, hash_seed: str = "0") -> Iterator[Served]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "carry.exchange", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    try:
        yield Served(process, json.loads(line))
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
