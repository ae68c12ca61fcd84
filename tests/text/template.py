#!/usr/bin/env python3
"""`baton template` as people and scripts use it: printing, rendering, JSON lines with bad ones among them, bad use."""
import json, os, pathlib, subprocess, sys

DATA = pathlib.Path(os.environ["BATON_TEST_DATA"])
MODEL = str(DATA / "models/llama-plain.Q8_0.gguf")
CHAT = DATA / "text/chat"
CLOCK = ["--now", "2025-03-14 09:26:53"]
bad = 0


def run(*args, stdin=b""):
    p = subprocess.run([os.environ["BATON"], "template", *args], input=stdin, capture_output=True)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def check(what, got, want):
    global bad
    if got != want:
        bad += 1
        print(f"{what}\n  got  {got!r}\n  want {want!r}")


def ask(*args, lines):
    """The answers to JSON lines."""
    code, out, err = run(*args, "--json", stdin=b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines))
    check(f"{args}: status", (code, err), (0, ""))
    return [json.loads(line) for line in out.split("\n")[:-1]]


def compare(what, answer, case):
    if "expected" in case:
        check(what, answer, {"text": case["expected"]})
    elif case["error_type"] == "TemplateError":
        check(what, answer, {"error": case["error"]})
    else:
        check(what, list(answer), ["error"])


# The language: each template from a file, its variables as {"vars"}.
for case in json.loads((CHAT / "jinja-language.json").read_text())[::4]:
    pathlib.Path("case.jinja").write_text(case["template"], newline="")
    if case.get("error_type") in ("TemplateSyntaxError", "TemplateAssertionError"):
        code, out, err = run("case.jinja", "--json")
        check(case["name"], (code, out, err.count("\n")), (1, "", 1))
        continue
    compare(case["name"], ask("case.jinja", *CLOCK, lines=[{"vars": case["vars"]}])[0], case)

# Conversations: one process for each template.
cases = json.loads((CHAT / "cases.json").read_text())
for name in ("openai-gpt-oss-120b.jinja", "HuggingFaceTB-SmolLM3-3B.jinja", "Qwen3-Coder.jinja"):
    mine = [c for c in cases if c["template"] == name]
    fields = ("messages", "tools", "documents", "add_generation_prompt", "kwargs")
    answers = ask(str(CHAT / "templates" / name), *CLOCK, lines=[{k: c[k] for k in fields} for c in mine])
    check(name, len(answers), len(mine))
    for c, answer in zip(mine, answers):
        compare(f"{name}, {c['conversation']}", answer, c)

# A model: its template, its special tokens, which keywords override.
code, out, err = run(MODEL)
check("print", (code, err, "<|im_start|>" in out, "{%" in out), (0, "", True, True))
hello = [{"role": "user", "content": "Hi"}]
rendered = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
check("-f -", run(MODEL, "-f", "-", stdin=json.dumps(hello).encode()), (0, rendered, ""))
pathlib.Path("talk.json").write_text(json.dumps({"messages": hello, "add_generation_prompt": False}))
check("-f FILE", run(MODEL, "-f", "talk.json"), (0, rendered.replace("<|im_start|>assistant\n", ""), ""))
check("-m", run("-m", MODEL, "-f", "-", stdin=json.dumps(hello).encode())[1], rendered)
check("built in", run("--chat-template", "chatml", "-f", "-", stdin=json.dumps(hello).encode()), (0, rendered, ""))
check("given", run(MODEL, "--chat-template", "{{ bos_token }};{{ x }};{{ strftime_now('%H:%M') }}", "-f", "-", *CLOCK,
                   "--chat-template-kwargs", '{"x": [1, "a"]}', stdin=b"[]")[1].split(";")[1:], ["[1, 'a']", "09:26"])
check("known", "chatml" in run("--known")[1].split(), True)

# JSON lines. Bad ones get an error, and reading goes on.
lines = [
    ({"messages": hello, "add_generation_prompt": True}, {"text": rendered}),
    ({"messages": hello}, {"text": rendered.replace("<|im_start|>assistant\n", "")}),
    (b'{"messages":[{"role":"user","content":"\\u0000\\ud83d\\ude00"}]}', {"text": "<|im_start|>user\n\0😀<|im_end|>\n"}),
    (b"not json", "error"),
    (b"[]", "error"),
    (b"{}", "error"),
    ({"messages": "a"}, "error"),
    ({"messages": hello, "tools": {}}, "error"),
    ({"messages": hello, "kwargs": []}, "error"),
    ({"messages": hello, "add_generation_prompt": 1}, "error"),
    ({"vars": []}, "error"),
    ({"messages": [{"role": "user"}]}, "error"),
    ({"vars": {"messages": hello}}, {"text": rendered.replace("<|im_start|>assistant\n", "")}),
    ({"messages": hello, "tools": None, "kwargs": {"add_generation_prompt": True}}, {"text": rendered}),
]
answers = ask(MODEL, lines=[line for line, _ in lines])
check("JSON", len(answers), len(lines))
for (line, want), got in zip(lines, answers):
    if want == "error":
        check(f"{line}", (list(got), isinstance(got.get("error"), str)), (["error"], True))
    else:
        check(f"{line}", got, want)

# Bad use: one line, status 2. What can't be done: one line, status 1.
for args in [[], [MODEL, "--json", "-f", "x"], [MODEL, "--now", "yesterday"], [MODEL, "--now", "2025-02-30"],
             [MODEL, "--chat-template-kwargs", "[]"], [MODEL, "a"], [MODEL, "--nonesuch"]]:
    code, out, err = run(*args)
    check(f"bad use {args}", (code, out, err.count("\n")), (2, "", 1))
pathlib.Path("broken.jinja").write_text("{% if %}")
pathlib.Path("broken.json").write_text("[{]")
pathlib.Path("raises.jinja").write_text("{{ raise_exception('No\nroles') }}")
for args in [["nonesuch.gguf"], ["nonesuch.jinja"], ["broken.jinja"], [MODEL, "-f", "nonesuch.json"], [MODEL, "-f", "broken.json"],
             [MODEL, "--chat-template", "nonesuch"], ["raises.jinja", "-f", "talk.json"]]:
    code, out, err = run(*args)
    check(f"{args}", (code, out, err.count("\n")), (1, "", 1))
check("sentence", run("raises.jinja", "-f", "talk.json")[2], "baton: raises.jinja: No roles\n")
sys.exit(bad > 0)
