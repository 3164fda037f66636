#!/usr/bin/env python3
"""How long `onemodel serve` takes from a slider's question to its answer, without a browser: what is left to that is
showing a PNG.

    tests/browser/serve_latency.py PROGRAM MODEL PICTURE [OPTIONS OF serve, such as --backend cuda]
"""

import json
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, model, picture, *more = sys.argv[1:]
    start = time.perf_counter()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would the server
    server = subprocess.Popen([program, "serve", "--model", model, "--port", "0", *more], stderr=subprocess.PIPE, text=True)
    said = ""
    for said in server.stderr:
        if "Ctrl-C" in said:
            break
    found = re.search(r"http://[\d.:]+", said)
    if not found:
        sys.exit(f"serve did not start: {said.strip()}")
    address = time.perf_counter() - start
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(path, body, kind):
        request = urllib.request.Request(found.group(0) + path, body, {"Content-Type": kind})
        with opener.open(request) as answer:
            return json.load(answer)

    try:
        begin = time.perf_counter()
        with open(picture, "rb") as file:
            sent = post("/api/pictures", file.read(), "application/octet-stream")
        encoded = 1000 * (time.perf_counter() - begin)
        took = []
        for i in range(120):
            factors = [1.0] * len(sent["maps"])
            factors[i % len(factors)] = 0.5 + i / 100
            question = json.dumps({"picture": sent["picture"], "maps": "predicted", "factors": factors}).encode()
            begin = time.perf_counter()
            post("/api/picture", question, "application/json")
            took.append(1000 * (time.perf_counter() - begin))
        warm = sorted(took[20:])
        print(f"start to address, s: {address:.2f}; the first picture encoded in ms: {encoded:.1f}")
        print(f"question to answer, ms: median {statistics.median(warm):.1f}, 9 of 10 within {warm[len(warm) * 9 // 10]:.1f}, "
              f"the first {took[0]:.1f}")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(10)


if __name__ == "__main__":
    main()
