"""Have recordings examined by a running server: `python scan.py FILE...`."""

import sys
import time
from pathlib import Path

import httpx

with httpx.Client(base_url="http://127.0.0.1:8000", headers={"x-api-key": "..."}) as server:
    for path in map(Path, sys.argv[1:]):
        answer = server.post("/v1/scans", files={"files": (path.name, path.read_bytes())})
        if answer.status_code == 429:  # busy, or more than this key may: the header says how long to wait
            time.sleep(float(answer.headers["retry-after"]))
            answer = server.post("/v1/scans", files={"files": (path.name, path.read_bytes())})
        answer.raise_for_status()
        job = answer.json()
        while job["state"] in ("queued", "running"):
            time.sleep(0.5)
            job = server.get(job["status_url"]).json()
        if job["state"] != "done":
            print(f"{path.name}: {job['error']}")
            continue
        for finding in server.get(job["result_url"]).json()["findings"]:
            llr = "none" if finding["spoof_llr"] is None else f"{finding['spoof_llr']:+.2f}"
            print(f"{path.name}: {finding['verdict']}, LLR {llr}. {finding['reasons'][0]['message']}")
        server.delete(job["result_url"])
