#!/usr/bin/env python3
"""The commands of docs/nightly.md as cron, systemd and a container start them: with next to no
environment, from an installed tree, over workers that are told what has changed (fake_night.py). Only
/opt/seqmark and /var/lib/seqmark are elsewhere. No cron, systemd or docker runs here.

usage: test_recipes.py SOURCE_DIR BINARY_DIR
"""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from campaigns import SEQMARK, SOURCE
from nights import FAKE, SLOW, SUITE, Nights

TEXT = (SOURCE / "docs/nightly.md").read_text("utf-8")
WITH_WORD = {"--gpus", "--cap-add", "--pid", "-v", "-w"} # options of docker run, and --rm


def block(begin):
    """The block of the text in which a line begins so, without its comments."""
    (found,) = [b for b in re.findall(r"```\n(.*?)```", TEXT, re.S) if re.search(f"^{begin}", b, re.M)]
    return re.sub(r"\s+# .*", "", found)


class Recipes(Nights):
    def setUp(self):
        super().setUp()
        self.opt, self.var, self.home = (pathlib.Path(self.folder.name, name)
                                         for name in ("opt", "var", "home"))
        for folder in (self.opt / "bin", self.opt / "share/seqmark/suites", self.var, self.home):
            folder.mkdir(parents=True)
        shutil.copy(SEQMARK, self.opt / "bin/seqmark")
        suite = SUITE.replace("name: small", "name: nightly")
        (self.opt / "share/seqmark/suites/nightly.yaml").write_text(suite, "utf-8")
        self.use_worker("base")
        self.tell("base", uuid=f"GPU-{os.getpid()}") # the lock is where it is without $SEQMARK_LOCK_DIR
        self.told(uuid=f"GPU-{os.getpid()}")
        commands = [line for line in block("seqmark doctor").splitlines() if " doctor" not in line]
        self.assertEqual(len(commands), 2)
        for command in commands: # the baseline, and its program
            result = self.start(["sh", "-c", command.replace("seqmark", str(self.opt / "bin/seqmark"), 1)
                                 + " --db nights.db"], self.var)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.use_worker("night")

    def told(self, **night):
        self.tell("night", **{"uuid": f"GPU-{os.getpid()}", **night})

    def use_worker(self, name):
        worker = self.opt / "bin/seqmark-worker"
        told = os.path.join(self.folder.name, name + ".json")
        worker.write_text(f"#!/bin/sh\nNIGHT='{told}' exec '{sys.executable}' '{FAKE}'\n", "utf-8")
        worker.chmod(0o755)

    def here(self, text):
        return text.replace("/opt/seqmark", str(self.opt)).replace("/var/lib/seqmark", str(self.var))

    def start(self, words, folder):
        poor = {"HOME": str(self.home), "LOGNAME": "bench", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
        return subprocess.run([self.here(word) for word in words], env=poor, cwd=folder,
                              capture_output=True, text=True, timeout=300, check=False)

    def test_the_cron_line_tells_of_bad_nights_alone(self):
        fields, command = re.search(r"^((?:[\d*/,-]+ ){5}) *(\S.*)$", block("0 2 "), re.M).groups()
        self.assertEqual(fields, "0 2 * * * ")
        self.assertNotIn("%", command) # cron makes line ends of them
        result = self.start(["/bin/sh", "-c", command], self.home)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        log = (self.var / "night.log").read_text("utf-8").splitlines()
        self.assertTrue(log[-1].startswith("seqmark: exit 0: as good or better; 32 cells"), log[-1])
        self.assertIn("unchanged", (self.var / "night.txt").read_text("utf-8"))
        self.told(times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        result = self.start(["/bin/sh", "-c", command], self.home)
        self.assertRegex(result.stdout, "^seqmark: exit 2: confirmed regression; 32 cells .*\n$")
        self.assertEqual(result.stderr, "")
        self.assertEqual(list(self.home.iterdir()), [])

    def test_the_service_starts_a_night_with_its_hook(self):
        unit = dict(re.findall(r"^(\w+)=(.*)$", block(r"\[Service\]"), re.M))
        hook = self.opt / "bin/tell-us"
        hook.write_text('#!/bin/sh\necho "$SEQMARK_EXIT_CODE $*" > told\n', "utf-8")
        hook.chmod(0o755)
        result = self.start(shlex.split(unit["ExecStart"]), self.here(unit["WorkingDirectory"]))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual((self.var / "told").read_text("utf-8"), "0 --channel perf\n")
        self.assertTrue((self.var / "out/night/index.html").exists())

    def test_the_command_of_the_container(self):
        words = shlex.split(block("docker run").replace("\\\n", " "))
        self.assertEqual(words.pop(0) + words.pop(0), "dockerrun")
        options = []
        while words[0].startswith("-"):
            option = words.pop(0)
            options.append((option, words.pop(0) if option in WITH_WORD else ""))
        image, *command = words
        self.assertRegex(image, r"^nvidia/cuda:13\.\d+\.\d+-runtime-ubuntu\d\d\.04$")
        self.assertIn(("--cap-add", "SYS_ADMIN"), options)
        volumes = {inside: mode for volume in (word for option, word in options if option == "-v")
                   for _, inside, mode in [(volume + ":rw").split(":")[:3]]}
        self.assertEqual(volumes, {"/var/lib/seqmark": "rw", "/run/lock": "rw", "/opt/seqmark": "ro"})
        (folder,) = [word for option, word in options if option == "-w"]
        self.assertEqual(volumes[folder], "rw")
        self.assertTrue(command[0].startswith("/opt/seqmark/bin/"))
        before = sorted(path.name for path in self.opt.rglob("*"))
        result = self.start(command, self.here(folder))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(path.name for path in self.opt.rglob("*")), before) # it is read-only
        self.assertEqual(list(self.home.iterdir()), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
