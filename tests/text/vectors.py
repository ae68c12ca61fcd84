#!/usr/bin/env python3
"""Tokenizer vectors through `baton tokenize --json`: ids, pieces, streamed text, and bytes that are not UTF-8.

usage: vectors.py NAME...   (gpt-2, smollm, ...)

Looks for vocab/NAME.gguf.xz and tokenizer/*.json in tests/data/text, then in the folder `text` of $BATON_SHARED or of
`shared` beside the checkout; skips (77) when a name is found nowhere.
"""
import json, lzma, os, pathlib, subprocess, sys

DATA = pathlib.Path(os.environ["BATON_TEST_DATA"])
ROOTS = [DATA / "text"]
if os.environ.get("BATON_SHARED"):
    ROOTS.append(pathlib.Path(os.environ["BATON_SHARED"]) / "text")
ROOTS.append(DATA.parents[2] / "shared" / "text")


def load(root, part):
    path = root / "tokenizer" / part
    return json.loads(path.read_text()) if path.exists() else []


class Baton:
    """One `baton tokenize --json` process, asked line by line."""

    def __init__(self, model):
        self.p = subprocess.Popen([os.environ["BATON"], "tokenize", str(model), "--json"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)

    def ask(self, **request):
        self.p.stdin.write(json.dumps(request).encode() + b"\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        assert self.p.wait() == 0


class Report:
    def __init__(self):
        self.good = self.bad = 0

    def check(self, what, got, want):
        if got == want:
            self.good += 1
        else:
            self.bad += 1
            if self.bad <= 10:
                print(f"{what}\n  got  {str(got)[:400]}\n  want {str(want)[:400]}")


def check_vocab(root, name, model, r):
    b = Baton(model)
    vectors = load(root, f"{name}.json")
    assert len(vectors) > 20, f"{name}: only {len(vectors)} vectors"
    for v in vectors:
        got = b.ask(text=v["text"], parse_special=v["parse_special"], add_bos=v["add_bos"])
        r.check(f"{name}: {v['text'][:80]!r} special={v['parse_special']}", got.get("ids", got), v["ids"])
        if name.startswith("fixture"):
            text = "".join(b.ask(ids=v["ids"])["emit"])
            r.check(f"{name}: way back of {v['text'][:80]!r}", text, v["text"])
    decode = load(root, f"decode-{name}.json")
    assert len(decode) > 50 or name.startswith("fixture"), f"{name}: only {len(decode)} ways back"
    for v in decode:
        got = b.ask(ids=v["ids"])
        r.check(f"{name}: pieces of {str(v['ids'])[:80]}", got.get("pieces", got), v["pieces"])
        if "emit" in v:
            r.check(f"{name}: emit of {str(v['ids'])[:80]}", got.get("emit"), v["emit"])
    for v in load(root, "invalid-utf8.json"):
        if v["vocab"] != name:
            continue
        got = b.ask(hex=v["hex"], parse_special=v["parse_special"], add_bos=v["add_bos"])
        if v["ids"] is None:  # llama.cpp gives up here; any answer will do
            r.check(f"{name}: survives {v['hex']}", "ids" in got, True)
        else:
            r.check(f"{name}: bytes {v['hex']}", got.get("ids", got), v["ids"])
    # Texts on which two references differ: as llama.cpp where it is about NFC (a GGUF file does not ask for it), as the
    # publisher where llama.cpp takes ordinary tokens for control tokens by their spelling.
    for v in load(root, "disagreements.json"):
        if v["vocab"] == name:
            want = v["llama_cpp"] if v["kind"] == "nfc" else v["hf_tokenizers"]
            got = b.ask(text=v["text"], parse_special=v["parse_special"], add_bos=False)
            r.check(f"{name}: {v['kind']} {v['text'][:80]!r}", got.get("ids", got), want)
    b.close()


def main():
    r = Report()
    done = []
    for name in sys.argv[1:]:
        root = next((x for x in ROOTS if (x / f"vocab/{name}.gguf.xz").exists()), None)
        if not root:
            print(f"skipped: {name} (its licence keeps it out of the repository; BATON_SHARED names the folder that has it)")
            continue
        model = pathlib.Path(f"{name}.gguf")
        model.write_bytes(lzma.decompress((root / f"vocab/{name}.gguf.xz").read_bytes()))
        check_vocab(root, name, model, r)
        done.append(name)
    print(f"{', '.join(done)}: {r.good} right, {r.bad} wrong")
    if r.bad:
        sys.exit(1)
    sys.exit(0 if done else 77)


main()
