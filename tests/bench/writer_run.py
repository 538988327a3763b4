"""One `lakehead write` as a child."""
import pathlib
import signal
import threading
import time

from program_run import ProgramRun


class WriterRun(ProgramRun):
    """Runs the writer; `commits` are (seconds since start, event) of every commit to a table of changes."""

    def __init__(self, config, once, memory_max_mib=None):
        self.killed = False
        super().__init__(pathlib.Path(config).with_suffix(".log"), "write", "--config", config, *(["--once"] if once else []))
        if memory_max_mib:
            threading.Thread(target=self.kill_above, args=(memory_max_mib,), daemon=True).start()

    @property
    def commits(self):
        return self.said("committed")

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
