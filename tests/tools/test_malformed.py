#!/usr/bin/env python3
"""Corrupt model files through the command line: each is refused or accepted as its index says, with exit status 1 and one
line that begins with the file's name, or runs. Also cut and missing files, and what is no file at all."""
import json, os, subprocess, sys, tempfile

BATON = os.environ["BATON"]
DATA = os.environ["BATON_TEST_DATA"]
faults = []


def run(*args, text='{"tokens":[1,2,3],"greedy":4}\n'):
    return subprocess.run([BATON, *args], input=text, capture_output=True, text=True, timeout=60)


def check_refused(what, r, *words):
    lines = r.stderr.splitlines()
    if r.returncode != 1:
        faults.append(f"{what}: exit status {r.returncode}, 1 expected: {r.stderr.strip()}")
    elif len(lines) != 1:
        faults.append(f"{what}: {len(lines)} lines on standard error")
    for w in words:
        if r.stderr.count(w) != 1:
            faults.append(f"{what}: '{w}' is {r.stderr.count(w)} times in: {r.stderr.strip()}")


def check_runs(what, r):
    answer = json.loads(r.stdout) if r.returncode == 0 else {}
    if r.returncode or len(answer.get("greedy", [])) != 4:
        faults.append(f"{what}: exit status {r.returncode}: {r.stderr.strip()} {r.stdout.strip()}")


def catalogue():
    folder = os.path.join(DATA, "malformed")
    for case in json.load(open(os.path.join(folder, "index.json"))):
        path = os.path.join(folder, case["file"])
        r = run("eval", path, "--json")
        if case["expect"] == "accept":
            check_runs(case["file"], r)
        elif case["expect"] == "reject":
            check_refused(case["file"], r, path)
        elif r.returncode not in (0, 1):
            faults.append(f"{case['file']}: exit status {r.returncode}")


def other_commands(tmp):
    """What a file lacks is said once, with its name in front, whichever command finds it."""
    folder = os.path.join(DATA, "malformed")
    out = os.path.join(tmp, "out.gguf")
    talk = '[{"role":"user","content":"Hi"}]'
    for name, word, *commands in [
        ("39-architecture-wrong-type", "general.architecture", ["quantize", "{}", out, "Q8_0"], ["bench", "{}", "-p", "4", "-n", "4"]),
        ("40-token-types-too-short", "tokenizer.ggml.token_type", ["tokenize", "{}", "abc"], ["run", "{}", "abc"]),
        ("43-tokens-wrong-type", "tokenizer.ggml.tokens", ["tokenize", "{}", "abc"], ["perplexity", "{}", "-f", __file__]),
        ("48-wrong-tensor-shape", "blk.", ["chat", "{}"], ["bench", "{}"]),
    ]:
        path = os.path.join(folder, name + ".gguf")
        for c in commands:
            check_refused(f"{c[0]} {name}", run(*(path if a == "{}" else a for a in c), text=talk), path, word)
        check_refused(f"{name}, no chat template", run("template", path, "-f", "-", text=talk), path)
    if os.path.exists(out):
        faults.append("quantize left a file behind")


def no_files(tmp):
    check_refused("missing file", run("eval", "/nonexistent/x.gguf", "--json"), "/nonexistent/x.gguf")
    check_refused("folder", run("eval", tmp, "--json"), tmp)
    check_refused("unknown name", run("eval", "no-such-model", "--json"), "no-such-model", "hf:owner/repo")


def context_too_long():
    model = os.path.join(DATA, "models", "llama-plain.Q8_0.gguf")
    r = run("eval", model, "--json", "-c", "64", text='{"tokens":%s}\n{"tokens":[1,2]}\n' % list(range(65)))
    lines = [json.loads(x) for x in r.stdout.splitlines()]
    if len(lines) != 2 or "64" not in lines[0].get("error", "") or len(lines[1].get("positions", [])) != 2:
        faults.append(f"context too long: {r.stdout} {r.stderr}")


def cut_files(tmp):
    """A sound model cut anywhere is refused."""
    data = open(os.path.join(DATA, "models", "llama-plain.Q8_0.gguf"), "rb").read()
    path = os.path.join(tmp, "cut.gguf")
    for n in range(0, len(data), 40009):
        with open(path, "wb") as f:
            f.write(data[:n])
        check_refused(f"cut at {n}", run("eval", path, "--json"), path)


with tempfile.TemporaryDirectory() as tmp:
    catalogue()
    other_commands(tmp)
    no_files(tmp)
    context_too_long()
    cut_files(tmp)
print("\n".join(faults) or "ok")
sys.exit(bool(faults))
