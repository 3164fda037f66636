#!/usr/bin/env python3
"""The report and the page of `onemodel serve` in a real browser, headless Chromium (webdriver.py).

    tests/browser/pages_test.py build/release/examples/onemodel [--pictures DIR] [--backend NAME] [UNITTEST OPTIONS]

Trains two small runs on the bundled generator first. With --pictures the browser's pictures of both pages are kept;
with --backend the page is served by that one (cpu).
Prints what was measured. Exit code 77 where there is no browser.
"""

import signal
import sys
import tempfile
import unittest
from pathlib import Path

import webdriver
from pages import given, prepare
from report_pages import GraphTest, ReportTest  # unittest finds them here
from serve_pages import ServeTest


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    given.program = arguments.pop(0)
    for option in ("--pictures", "--backend"):
        if option in arguments:
            at = arguments.index(option)
            setattr(given, option.removeprefix("--"), arguments[at + 1])
            del arguments[at:at + 2]
    if webdriver.missing():
        print(f"skip: {webdriver.missing()}", file=sys.stderr)
        return 77
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would servers
    with tempfile.TemporaryDirectory(prefix="onemodel-pages-") as folder:
        given.work = Path(folder)
        prepare()
        result = unittest.main(argv=[sys.argv[0], *arguments], exit=False).result
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
