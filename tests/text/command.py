#!/usr/bin/env python3
"""`baton tokenize` as people and scripts use it: output, options, JSON lines with bad ones among them, bad use."""
import json, os, pathlib, subprocess, sys

DATA = pathlib.Path(os.environ["BATON_TEST_DATA"])
MODEL = str(DATA / "models/llama-plain.Q8_0.gguf")
bad = 0


def run(*args, stdin=b""):
    p = subprocess.run([os.environ["BATON"], "tokenize", *args], input=stdin, capture_output=True)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def check(what, got, want):
    global bad
    if got != want:
        bad += 1
        print(f"{what}\n  got  {got!r}\n  want {want!r}")


# The ids are those of fixtures' golden file: "Hello, world!" -> 480 309 78 11 264 277 75 67 0
ids = [480, 309, 78, 11, 264, 277, 75, 67, 0]
as_list = "[" + ", ".join(map(str, ids)) + "]\n"
code, out, err = run(MODEL, "Hello, world!")
check("pieces", (code, out.splitlines()[:2], out.splitlines()[-1], err), (0, ["   480 -> 'He'", "   309 -> 'll'"], "     0 -> '!'", ""))
check("ids", run(MODEL, "Hello, world!", "--ids"), (0, as_list, ""))
check("-p", run(MODEL, "-p", "Hello, world!", "--ids"), (0, as_list, ""))
check("-m", run("-m", MODEL, "Hello, world!", "--ids"), (0, as_list, ""))
check("stdin", run(MODEL, "--stdin", "--ids", stdin=b"Hello, world!"), (0, as_list, ""))
check("-f -", run(MODEL, "-f", "-", "--ids", stdin=b"Hello, world!"), (0, as_list, ""))
pathlib.Path("command.txt").write_bytes(b"Hello, world!")
check("-f", run(MODEL, "-f", "command.txt", "--ids", "--show-count"), (0, as_list + "Total number of tokens: 9\n", ""))
check("empty", run(MODEL, "", "--ids"), (0, "[]\n", ""))
check("special", run(MODEL, "<|im_end|>", "--ids")[1], "[511]\n")
code, out, err = run(MODEL, "<|im_end|>", "--ids", "--no-parse-special")
check("plain", (code, "511" in out, len(json.loads(out)) > 3), (0, False, True))
code, out, err = run("--known")
check("known", (code, "qwen2" in out.split(), "llama-bpe" in out.split(), err), (0, True, True, ""))

# Bad use: one line, status 2. Bad files: one line, status 1.
for args in [[], [MODEL], [MODEL, "a", "--stdin"], [MODEL, "a", "-f", "x"], [MODEL, "--json", "a"], [MODEL, "--nonesuch"]]:
    code, out, err = run(*args)
    check(f"bad use {args}", (code, out, err.count("\n")), (2, "", 1))
for args in [["nonesuch.gguf", "a"], [MODEL, "-f", "nonesuch.txt"], [str(DATA / "malformed/40-token-types-too-short.gguf"), "a"]]:
    code, out, err = run(*args)
    check(f"bad file {args}", (code, out, err.count("\n")), (1, "", 1))
code, out, err = run(str(DATA / "malformed/41-fewer-tokens-than-embedding-rows.gguf"), "a")
check("sentence", "41-fewer" in err and "eos_token_id is 11" in err, True)

# JSON lines. Bad ones get an error, and reading goes on.
lines = [
    (b'{"text":"Hello, world!"}', {"ids": ids}),
    (b'{"hex":"48656C6c6f2c20776f726c6421"}', {"ids": ids}),
    (b'{"text":"<|im_end|>","parse_special":true}', {"ids": [511]}),
    (b'{"text":"","add_bos":true}', {"ids": []}),
    (b'{"text":"a\\u0000"}', None),
    (b'not json', "error"),
    (b'[]', "error"),
    (b'{}', "error"),
    (b'{"text":5}', "error"),
    (b'{"text":"a","hex":"61"}', "error"),
    (b'{"hex":"6"}', "error"),
    (b'{"hex":"6x"}', "error"),
    (b'{"text":"a","parse_special":1}', "error"),
    (b'{"ids":[512]}', "error"),
    (b'{"ids":[-1]}', "error"),
    (b'{"ids":["a"]}', "error"),
    (b'{"ids":[480,309,78]}', {"pieces": ["4865", "6c6c", "6f"], "emit": ["He", "ll", "o"]}),
    (b'{"ids":[]}', {"pieces": [], "emit": []}),
    (b'{"ids":[511]}', {"pieces": [b"<|im_end|>".hex()], "emit": ["<|im_end|>"]}),
    # Half a character: held back, and shown as U+FFFD at the end.
    (b'{"ids":[171,120]}', None),
]
code, out, err = run(MODEL, "--json", stdin=b"\n".join(line for line, _ in lines))
answers = [json.loads(line) for line in out.splitlines()]
check("JSON", (code, len(answers), err), (0, len(lines), ""))
for (line, want), got in zip(lines, answers):
    if want == "error":
        check(f"{line}", (list(got), isinstance(got.get("error"), str)), (["error"], True))
    elif want is not None:
        check(f"{line}", got, want)
back = run(MODEL, "--json", stdin=json.dumps(answers[4]).encode())[1]
check("U+0000 and back", json.loads(back)["emit"][-1], "\0")
check("half a character", answers[-1]["emit"], ["", "\ufffd"])
sys.exit(bad > 0)
