#!/usr/bin/python3
"""Every command of ours that the documents tell people to type is one that the programs take: subcommands and flags.

Needs a build in bazel-bin.
"""

import functools
import pathlib
import re
import shlex
import subprocess
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {
    "cowherd": REPOSITORY / "bazel-bin/client/cowherd",
    "cowherd-node": REPOSITORY / "bazel-bin/server/node/cowherd-node",
    "cowherd-controller": REPOSITORY / "bazel-bin/server/controller/cowherd-controller",
}
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "deploy/README.md", *sorted((REPOSITORY / "deploy/monitoring/runbooks").glob("*.md"))]
# Of other programs, named by themselves in a sentence.
OTHERS = {"--auto-compaction-retention", "--filesystem"}
OPTION = re.compile(r"^ +(?:(-\w),)?(--[a-z_]+)(?:,--[a-z_]+)*( [A-Z])?", re.M)


class Help:
    """What --help tells of a program or one of its subcommands."""

    def __init__(self, words):
        done = subprocess.run([PROGRAMS[words[0]], *words[1:], "--help"], capture_output=True, text=True, check=True)
        options, _, subcommands = done.stdout.partition("Subcommands:\n")
        subcommands = subcommands.split("\n\n")[0]
        # Name: takes a value.
        self.options = {}
        for short, name, value in OPTION.findall(options):
            for one in (short, name):
                if one:
                    # CLI11 gives no type for a file of flags.
                    self.options[one] = bool(value) or one == "--config"
        self.subcommands = set(re.findall(r"^  ([a-z_]+)(?: |$)", subcommands, re.M))


help_of = functools.lru_cache(None)(lambda *words: Help(words))


def wrong(words):
    """What is wrong with a command of ours; None: nothing."""
    path, options, value = (words[0],), dict(help_of(words[0]).options), False
    for word in words[1:]:
        if value:
            value = False
            continue
        if word in ("--", "..."):
            break
        if word.startswith("-") and len(word) > 1 and not re.match(r"-\d", word):
            name, equals, _ = word.partition("=")
            if name not in options:
                # A flag may stand before the word that it belongs to.
                return f"no flag {name} of {' '.join(path)}"
            value = options[name] and not equals
        elif help_of(*path).subcommands:
            if word not in help_of(*path).subcommands:
                return f"no command {word} of {' '.join(path)}"
            path = (*path, word)
            options.update(help_of(*path).options)
    if help_of(*path).subcommands and path[0] == "cowherd" and "--help" not in words and "--version" not in words:
        return f"{' '.join(path)} needs a command after it"
    return None


def code(text):
    """Blocks of code, fenced or indented, then what stands in a line between backquotes."""
    outside, block, fenced = [], [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or (line.startswith("    ") and not line.lstrip().startswith(("- ", "* "))):
            block.append(line.strip())
        else:
            block.append("")
            outside.append(line)
    lines = re.sub(r"\\\n", " ", "\n".join(block)).split("\n")
    return [line for line in lines if line] + re.findall(r"`([^`]+)`", "\n".join(outside).replace("\n", " "))


def commands(text):
    """The words of each command of ours."""
    for line in code(text):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            continue  # output of a program, with a lone quote
        while words:
            end = next((i for i, word in enumerate(words) if set(word) <= set("|&;()<>") and word), len(words))
            part, words = words[:end], words[end + 1 :]
            begin = next((i for i, word in enumerate(part) if word.split("/")[-1] in PROGRAMS), None)
            # Before it may stand: VAR=value, sudo, and what runs a command elsewhere.
            if begin is None or not all("=" in word or word == "sudo" for word in part[:begin]) and "--" not in part[:begin]:
                continue
            if part[begin:] != part[begin : begin + 1]:  # else only its name
                yield [part[begin].split("/")[-1], *part[begin + 1 :]]


class CommandsTest(unittest.TestCase):
    def test_what_is_wrong_is_found(self):
        for good in ("cowherd job create --all --wait", "cowherd -o json --timeout 5s job list", "cowherd-node --root a=/b",
                     "cowherd-controller backup --store S --to FILE", "cowherd job create -o json --all"):
            self.assertIsNone(wrong(good.split()), good)
        for bad in ("cowherd job creat", "cowherd job create --al", "cowherd-node --roots a=/b", "cowherd schedule",
                    "cowherd-controller backup --form FILE", "cowherd node window --cron x"):
            self.assertIsNotNone(wrong(bad.split()), bad)
        text = "Say `cowherd job\nlist` or:\n\n    sudo cowherd job list | cowherd node lst && X=1 cowherd-node --no\n"
        self.assertEqual([wrong(words) is None for words in commands(text)], [True, False, False, True])

    def test_documents(self):
        seen = 0
        for path in DOCUMENTS:
            with self.subTest(path=path.name):
                found = list(commands(path.read_text()))
                seen += len(found)
                self.assertEqual([f"{' '.join(words)}: {wrong(words)}" for words in found if wrong(words)], [])
        self.assertGreater(seen, 60)

    def test_flags_named_in_sentences(self):
        known = set(OTHERS)
        for program in PROGRAMS:
            todo = [(program,)]
            while todo:
                path = todo.pop()
                known |= set(help_of(*path).options)
                todo += [(*path, word) for word in help_of(*path).subcommands]
        for path in DOCUMENTS:
            with self.subTest(path=path.name):
                named = {span.split()[0].split("=")[0] for span in code(path.read_text()) if span.startswith("--")}
                self.assertEqual(named - known, set())


if __name__ == "__main__":
    unittest.main()
