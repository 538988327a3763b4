"""One `lakehead write` as a child: its log events as they come, its memory and CPU time as the system counts them."""
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


class WriterRun:
    """Runs the writer; `commits` are (seconds since start, event) of every commit to a table of changes."""

    def __init__(self, config, once, memory_max_mib=None):
        command = [os.environ["LAKEHEAD_BIN"], "--log-format", "json", "write", "--config", str(config), *(["--once"] if once else [])]
        self.log = pathlib.Path(config).with_suffix(".log")
        self.commits, self.killed, self.usage, self.code = [], False, None, None
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if memory_max_mib:
            threading.Thread(target=self.kill_above, args=(memory_max_mib,), daemon=True).start()

    def read(self):
        with open(self.log, "a") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("message") == "committed":
                    self.commits.append((time.monotonic() - self.started, event))

    def rss_mib(self):
        try:
            return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 2**20
        except (OSError, IndexError):
            return 0.0

    def kill_above(self, most):
        """What the system's OOM killer does, without the rights that a control group takes."""
        while self.usage is None:
            if self.rss_mib() > most:
                self.killed = True
                self.process.send_signal(signal.SIGKILL)
                return
            time.sleep(0.005)

    def rows(self):
        return sum(event["rows"] for _, event in self.commits)

    def wait(self, timeout=900):
        """Waits for the end; after `timeout` seconds ends it."""
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.start()
        _, status, self.usage = os.wait4(self.process.pid, 0)
        watchdog.cancel()
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.wall_s = time.monotonic() - self.started
        self.reader.join()
        return self

    def stop(self):
        self.process.terminate()
        return self.wait(60)

    @property
    def cpu_s(self):
        return self.usage.ru_utime + self.usage.ru_stime

    @property
    def peak_mib(self):
        return self.usage.ru_maxrss / 1024
