"""What the tests of whole nights share: campaigns of fake_night.py, told what has changed."""
import json
import os
import pathlib
import subprocess

from campaigns import SEQMARK, SOURCE, Campaigns

FAKE = SOURCE / "tests/fault/fake_night.py"
# 32 cells of one operator: enough for the night's control.
CELLS = ["--op", "rmsnorm", "--provider", "cuda/portable", "--seqlen", "64..512*2", "--batch",
         "1..8*2", "--channels", "256,512", "--device", "0"]


class Nights(Campaigns):
    def tell(self, name, **night):
        path = os.path.join(self.folder.name, name + ".json")
        pathlib.Path(path).write_text(json.dumps(night), encoding="utf-8")
        return path

    def environment(self, name, **more):
        return self.marked(**{"SEQMARK_WORKER": str(FAKE),
                              "NIGHT": os.path.join(self.folder.name, name + ".json"),
                              "FAKE_LOG": os.path.join(self.folder.name, "log"), **more})

    def seqmark(self, name, verb, *words, **more):
        return subprocess.run([str(SEQMARK), verb, *words, "--db", self.db],
                              env=self.environment(name, **more), cwd=self.folder.name,
                              capture_output=True, text=True, timeout=300, check=False)

    def measure(self, label, *words, **night):
        """A campaign of five replicates on which `night` is so."""
        self.tell(label, **night)
        return self.seqmark(label, "run", *CELLS, "--replicates", "5", "--counters", "basic",
                            "--label", label, *words)

    def requests(self):
        path = os.path.join(self.folder.name, "log")
        with open(path, encoding="utf-8") as log:
            return [json.loads(line) for line in log]
