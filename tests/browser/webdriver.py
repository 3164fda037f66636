"""A browser driven through the W3C WebDriver protocol: headless Chromium by its chromedriver, over urllib.

Only what the tests of the pages need (https://www.w3.org/TR/webdriver2/). Every session keeps the browser's console and
the addresses it asked for, so that a test can say that there was no error and no request to anywhere else.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"left": "\ue012", "right": "\ue014", "tab": "\ue004", "home": "\ue011", "end": "\ue010", "enter": "\ue007"}


class BrowserError(Exception):
    pass


def missing():
    """Why there is no browser to drive; None where there is one."""
    for program in ("chromedriver", "chromium"):
        if shutil.which(program) is None:
            return f"no {program}"
    return None


class Browser:
    """`with Browser() as b`: a Chromium without a window, of its own profile; `rules` say where names lead."""

    def __init__(self, width=1280, height=900, rules=""):
        self.profile = tempfile.mkdtemp(prefix="onemodel-browser-")
        self.log = open(os.path.join(self.profile, "driver.log"), "w+")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.address = f"http://127.0.0.1:{self._port()}"
            arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                         "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                         "--disable-sync", "--no-default-browser-check", "--hide-scrollbars",
                         f"--window-size={width},{height}", f"--user-data-dir={self.profile}/profile"]
            if rules:
                arguments.append(f"--host-resolver-rules={rules}")
            options = {"args": arguments, "binary": shutil.which("chromium")}
            wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                      "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}
            self.session = self._ask("POST", "/session", {"capabilities": wanted})["sessionId"]
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if getattr(self, "session", None):
            try:
                self._ask("DELETE", f"/session/{self.session}")
            except (BrowserError, OSError):
                pass
        self.driver.terminate()
        self.driver.wait(10)
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _port(self):
        for _ in range(200):
            with open(self.log.name) as log:
                found = re.search(r"on port (\d+)\.", log.read())
            if found:
                return found.group(1)
            if self.driver.poll() is not None:
                break
            time.sleep(0.05)
        raise BrowserError("chromedriver does not start")

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    # pages

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What the script, a function's body, returns."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        """What the script hands to the function that is its last argument."""
        return self._do("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def until(self, script, *arguments, seconds=20):
        """The script's first value that is not false."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            if time.monotonic() > end:
                raise BrowserError(f"did not come to pass in {seconds} s: {script}")
            time.sleep(0.02)

    def find(self, selector):
        return self._do("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def click(self, selector):
        self._do("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, keys):
        self._do("POST", f"/element/{self.find(selector)}/value", {"text": keys})

    def keys(self, keys):
        """Pressed one after another, wherever the focus is."""
        presses = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})

    def point_at(self, selector, x, y):
        """Moves the pointer to that many pixels from the element's middle, the element brought into view."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        move = {"type": "pointerMove", "duration": 0, "x": x, "y": y, "origin": {ELEMENT: self.find(selector)}}
        self._do("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
                                                   "actions": [move]}]})

    def drag(self, selector, steps):
        """Presses at the first of [(x, y), ..] from the element's middle, moves through the others, lets go."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        origin = {ELEMENT: self.find(selector)}
        moves = [{"type": "pointerMove", "duration": 20, "x": x, "y": y, "origin": origin} for x, y in steps]
        moves[1:1] = [{"type": "pointerDown", "button": 0}]
        moves.append({"type": "pointerUp", "button": 0})
        self._do("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
                                                   "actions": moves}]})

    def size(self, width, height):
        self._do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def media(self, scheme="light", medium=""):
        self._do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]}})

    def screenshot(self, path, whole=False):
        value = self._do("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": {
            "format": "png", "captureBeyondViewport": whole}})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(value))

    def downloads(self, folder):
        """Where what is downloaded goes."""
        self._do("POST", "/goog/cdp/execute", {"cmd": "Browser.setDownloadBehavior", "params": {
            "behavior": "allow", "downloadPath": str(folder)}})

    # tabs

    def tabs(self):
        return self._do("GET", "/window/handles")

    def new_tab(self):
        """Opens a tab and goes to it; returns its handle."""
        handle = self._do("POST", "/window/new", {"type": "tab"})["handle"]
        self.go_to(handle)
        return handle

    def go_to(self, tab):
        self._do("POST", "/window", {"handle": tab})

    # what was said and asked for since the last call

    def console(self):
        """The console's errors and warnings."""
        lines = self._do("POST", "/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses that pages asked for, data: and blob: left out."""
        found = []
        for line in self._do("POST", "/se/log", {"type": "performance"}):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("data:", "blob:", "about:", "chrome:", "chrome-untrusted:")):
                    found.append(url)
        return found
