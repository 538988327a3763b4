"""One Lakehead process as a child: its log events as they come, its memory and CPU time as the system counts them."""
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


class ProgramRun:
    """Runs `lakehead COMMAND...`; `events` are (seconds since start, event) of all that it logs, which goes to `log`, too."""

    def __init__(self, log, *command):
        self.log, self.events, self.usage, self.code = pathlib.Path(log), [], None, None
        self.started = time.monotonic()
        self.process = subprocess.Popen([os.environ["LAKEHEAD_BIN"], "--log-format", "json", *map(str, command)], stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with open(self.log, "a") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                if line.startswith("{"):
                    self.events.append((time.monotonic() - self.started, json.loads(line)))

    def said(self, message):
        """The events with this message."""
        return [(at, event) for at, event in self.events if event.get("message") == message]

    def rss_mib(self):
        try:
            return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 2**20
        except (OSError, IndexError):
            return 0.0

    def cpu_now_s(self):
        """User and system time until now, before `wait`."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def runs(self):
        """Whether it has not ended by itself. `Popen` would take leave of one that has, as soon as it is asked or sent a signal, and what it
        used would be lost: that is left to `wait`."""
        return self.code is None and os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait(self, timeout=900):
        """Waits for the end; after `timeout` seconds ends it."""
        watchdog = threading.Timer(timeout, os.kill, (self.process.pid, signal.SIGKILL))
        watchdog.start()
        _, status, self.usage = os.wait4(self.process.pid, 0)
        watchdog.cancel()
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.wall_s = time.monotonic() - self.started
        self.reader.join()
        return self

    def stop(self):
        os.kill(self.process.pid, signal.SIGTERM)
        return self.wait(60)

    @property
    def cpu_s(self):
        return self.usage.ru_utime + self.usage.ru_stime

    @property
    def peak_mib(self):
        return self.usage.ru_maxrss / 1024
