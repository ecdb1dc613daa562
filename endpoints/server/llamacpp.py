"""Runs llama.cpp's own server through xllamacpp, in a process of its own: python llamacpp.py OPTIONS.

muser starts this file by its path. The key is in the environment, because every user of the machine can read arguments.
"""

import argparse
import json
import os
import sys
import threading

KEY = "MUSER_LLAMACPP_KEY"
# Without this, GNU OpenMP's threads spin while they wait, and on a busy machine take the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens of one request; 0: the model's own limit")
    parser.add_argument("--options", type=json.loads, default={}, help="fields of xllamacpp.CommonParams, as JSON")
    given = parser.parse_args()

    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = given.model
    settings.model_alias = {given.name}
    settings.hostnames = [given.host]
    settings.port = given.port
    settings.api_keys = [key] if (key := os.environ.get(KEY)) else []
    settings.use_jinja = True
    settings.endpoint_metrics = True
    settings.cpuparams.poll = 0
    settings.n_parallel = given.options.pop("n_parallel", 4)
    # llama.cpp gives each slot an equal part of this, and for 0 the model's own limit. If the slots shared a smaller
    # cache (kv_unified), several long requests at once would fill it, and all of them would fail.
    settings.n_ctx = given.context * settings.n_parallel
    # The prompts that slots drop; llama.cpp's own default is 8 GiB.
    settings.cache_ram_mib = 512
    for name, value in given.options.items():
        if not hasattr(settings, name):
            sys.exit(f"xllamacpp.CommonParams has no {name}")
        setattr(settings, name, value)
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
