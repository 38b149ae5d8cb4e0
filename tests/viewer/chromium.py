"""A headless Chromium, driven through its debugging pipe. Python's standard library and nothing else."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


class Failed(Exception):
    pass


def find():
    """The name of the browser, or None."""
    return next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)


class Page:
    """One tab. Every message goes down one pipe and comes up another, each ended by a zero byte."""

    def __init__(self, downloads):
        self.profile = tempfile.mkdtemp(prefix="ctseg_chromium_")
        to_read, self.down = os.pipe()
        self.up, to_write = os.pipe()
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read, to_write)]
        # The browser wants descriptors 3 and 4. No sandbox: tests run as root in containers, and the page is ours.
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={self.profile}",
                   "--window-size=1280,900", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                   "--disable-accelerated-2d-canvas", "--disable-dev-shm-usage", "--disable-background-networking",
                   "--disable-component-update", "--no-first-run", "about:blank"]

        def connect():   # in the child, whose copies of what had numbers 3 and 4 are not needed
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen([find(), *options], pass_fds=(3, 4), preexec_fn=connect,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (to_read, to_write, *ends):
            os.close(fd)
        self.number, self.rest, self.session = 0, b"", None
        self.requests, self.complaints, self.dialogs = [], [], []
        tab = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):   # Network stalls on bodies of 50 MB
            self.call(f"{domain}.enable")
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=os.path.abspath(downloads))

    def close(self):
        os.close(self.down)   # the browser ends when its pipe does
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.up)
        shutil.rmtree(self.profile, ignore_errors=True)

    # --- messages ---------------------------------------------------------------------------------------------------

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith("Browser."):
            message["sessionId"] = self.session
        self.send(message)
        while True:
            answer = self.receive()
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def send(self, message):
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.down, data):]

    def receive(self):
        while b"\0" not in self.rest:
            if not select.select([self.up], [], [], 60)[0]:
                raise Failed(f"the browser was silent for a minute after message {self.number}")
            more = os.read(self.up, 1 << 20)
            if not more:
                raise Failed("the browser ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        self.notice(message.get("method"), message.get("params", {}))
        return message

    def notice(self, event, params):
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif event == "Inspector.targetCrashed":
            raise Failed("the page crashed")
        elif event == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"] or params["type"])
            self.number += 1   # answered without waiting: we are inside a wait for something else
            self.send({"id": self.number, "method": "Page.handleJavaScriptDialog", "sessionId": self.session,
                       "params": {"accept": True}})

    # --- what a person does -----------------------------------------------------------------------------------------

    def open(self, url):
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        """The value of a JavaScript expression, awaited; it may use `state` and `$` (querySelector)."""
        code = f"""(async () => {{
          const {{state}} = await import('/state.js'), $ = (selector) => document.querySelector(selector);
          return ({expression});
        }})()"""
        result = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def wait(self, expression, seconds=60):
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        last = None
        while time.monotonic() < end:
            try:
                if self.evaluate(expression):
                    return
            except Failed as error:   # between two pages there is nothing to ask
                last = error
            time.sleep(0.05)
        status = self.evaluate("$('#status')?.value ?? document.body.innerText")
        raise Failed(f"after {seconds} s still not: {expression}\n  the page says: {status}\n  {last or ''}")

    def follow(self, element):
        """Clicks on what leads to another page; the answer would get lost on the way there."""
        self.evaluate(f"void setTimeout(() => ({element}).click(), 20)")

    def settle(self):
        """Until what was asked to be drawn is drawn."""
        self.evaluate("await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, points, button="left", modifiers=0):
        bit = {"left": 1, "right": 2, "middle": 4}[button]
        self.mouse("mouseMoved", *points[0])
        self.mouse("mousePressed", *points[0], button=button, buttons=bit, clickCount=1, modifiers=modifiers)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, button=button, buttons=bit, modifiers=modifiers)
        self.mouse("mouseReleased", *points[-1], button=button, clickCount=1, modifiers=modifiers)
        self.settle()

    def click(self, selector):
        self.evaluate(f"$('{selector}').scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"$('{selector}').getBoundingClientRect().toJSON()")
        self.drag([(box["left"] + box["width"] / 2, box["top"] + box["height"] / 2)])

    def wheel(self, x, y, delta):
        self.mouse("mouseWheel", x, y, deltaX=0, deltaY=delta)
        self.settle()

    def key(self, key, control=False, shift=False):
        modifiers = 2 * control + 8 * shift
        more = {"windowsVirtualKeyCode": {"PageUp": 33, "ArrowRight": 39}.get(key) or ord(key.upper())}
        if len(key) == 1 and not control:
            more["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)
        self.settle()

    def choose(self, selector, value):
        """As a person moves a slider or picks from a list."""
        self.evaluate(f"""(() => {{
          const element = $('{selector}');
          element.value = {json.dumps(value)};
          for (const name of ['input', 'change']) element.dispatchEvent(new Event(name, {{bubbles: true}}));
        }})()""")
        self.settle()

    def choose_file(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[os.path.abspath(path)])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
