"""Seconds per page of the viewer over HTTP with many samples, and the server's peak memory.

    python bench/viewer.py [--samples N] [--store FILE]

The store is that of bench/scale.py. Each page is requested once, then five times more, because some pages are cached.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

HERE = Path(__file__).parent


class Client:
    """A browser: one connection, and the cookie that the token in the address is exchanged for."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.connection = HTTPConnection(parts.hostname or "", parts.port)
        _, cookie = self._get(f"/?{parts.query}", "")
        self.cookie = cookie.partition(";")[0]

    def _get(self, path: str, cookie: str) -> tuple[int, str]:
        self.connection.request("GET", path, headers={"Cookie": cookie})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("set-cookie", "")

    def seconds(self, path: str) -> float:
        """Seconds until a page has arrived in full."""
        began = time.perf_counter()
        status, _ = self._get(path, self.cookie)
        assert status == 200, (status, path)
        return time.perf_counter() - began


def measure(address: str, samples: int) -> dict[str, dict[str, float]]:
    """Page → seconds of the first request and of the slowest of five more."""
    middle, client = f"/runs/scale/samples/s{samples // 2:06d}", Client(address)
    where = quote("verdict.safety=revise and tokens>100 and has refinement")
    pages = {
        "runs": "/",
        "run": "/runs/scale",
        "list": "/runs/scale/samples",
        "last page": f"/runs/scale/samples?page={samples // 50}",
        "filter": f"/runs/scale/samples?where={where}",
        "sort": "/runs/scale/samples?sort=-tokens",
        "search": "/runs/scale/samples?search=rest+water",
        "trace": middle,
    }
    found = {}
    for name, path in pages.items():
        first = client.seconds(path)
        found[name] = {"first": round(first, 3), "then": round(max(client.seconds(path) for _ in range(5)), 3)}
    return found


def peak(pid: int) -> int:
    """Peak memory of a process in MB. VmHWM, because getrusage knows only children that have exited."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--store", type=Path, help="a store that bench/scale.py filled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or Path(folder) / "scale.db"
        if not store.exists():
            fill = [sys.executable, str(HERE / "scale.py"), "--fill", str(store), "--samples", str(given.samples)]
            subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "muser", "view", "--no-browser", "--port", "0", "--store", str(store)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            address = next(word for line in server.stderr or () for word in line.split() if word.startswith("http://"))
            try:
                seconds = measure(address, given.samples)
                memory = peak(server.pid)
            finally:
                server.terminate()
    print(json.dumps({"samples": given.samples, "seconds": seconds, "server_peak_mb": memory}, indent=2))


if __name__ == "__main__":
    main()
