#!/usr/bin/env python3
"""Models with logits from an independent implementation (float32: each file's "source" says which), through `baton eval --json`.

    golden.py [--shared] [NAME ...] [-- options of baton eval]

BATON_TEST_DATA (tests/data) holds models/NAME.gguf and golden/NAME.json; with --shared the larger set of the same form is
read, where it is: in the folder fixtures of $BATON_SHARED, or of shared/ beside the checkout. How close is
close enough is a property of the number format, not of the device:

exact    --exact: float32 throughout, so only the order of summation differs: every logit within 2e-4 and the same greedy
         tokens, up to the first place where the two best logits are closer than 1e-3.
normal   activations rounded to 8 bits, keys and values to 16: compared with our own exact logits, which the step
         before has shown to be right, at all 186 positions of the four prompts. The noise must be at most 1.5 times that
         of another engine that rounds likewise, which the golden file records: the median over positions of the
         position's largest error, and the root mean square over all logits. With experts only the median, and without
         the positions behind a router gap that rounding can close: another expert chosen in a near tie is no fault.
         Files of float32 weights without such a record (llama_cpp_cpu) are judged in exact mode only.
"""
import json, math, os, statistics, subprocess, sys

BATON = os.environ.get("BATON", "baton")
EXACT_TOLERANCE = 2e-4
EXACT_GAP = 1e-3
NOISE_FACTOR = 1.5
# Rounding to 8 bits moves router scores by about this much: nearer choices may fall otherwise.
ROUTER_NOISE = 0.1


def ask(model, requests, options):
    text = "".join(json.dumps(r) + "\n" for r in requests)
    run = subprocess.run([BATON, "eval", model, "--json", *options], input=text, capture_output=True, text=True)
    if "no CPU level" in run.stderr or "no device 'Vulkan" in run.stderr:
        skip(run.stderr.strip())
    if run.returncode:
        raise SystemExit(f"baton eval {model} {options}: exit status {run.returncode}: {run.stderr.strip()}")
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    for a in answers:
        if "error" in a:
            raise SystemExit(f"baton eval {model}: {a['error']}")
    return answers


def logits_of(position):
    return dict((i, x) for i, x in position["top"])


def golden_errors(golden, answers):
    """Differences of all the logits that the golden file lists, as one list per position."""
    out = []
    for want, got in zip(golden["positions"], answers[0]["positions"]):
        mine = logits_of(got)
        out.append([mine[i] - x for i, x in want["top8"]])
    out.append([a - b for a, b in zip(answers[0]["final_logits"], golden["final_logits"])])
    assert len(out[-1]) == golden["vocab_size"] and len(out) == len(golden["prompt_tokens"]) + 1
    for other, answer in zip(golden["others"], answers[1:]):
        mine = logits_of(answer["positions"][-1])
        out.append([mine[i] - x for i, x in other["final_top8"]])
    return out


def rounding_errors(exact, rounded):
    """Differences between two sets of answers, all logits of all positions, as one list per position."""
    out = []
    for a, b in zip(exact, rounded):
        for p, q in zip(a["positions"], b["positions"]):
            mine = logits_of(q)
            out.append([mine[i] - x for i, x in p["top"]])
    return out


def check_greedy(want, gaps, got, gap_min):
    """None, or the first token that differs although its lead was large."""
    for i, (w, gap, g) in enumerate(zip(want, gaps, got)):
        if gap < gap_min:
            return None
        if w != g:
            return f"greedy token {i} is {g}, {w} expected (lead {gap:.4f})"
    return None if len(got) == len(want) else f"{len(got)} greedy tokens, {len(want)} expected"


def judge_exact(golden, answers):
    worst = [max(abs(e) for e in row) for row in golden_errors(golden, answers)]
    faults = []
    if not max(worst) <= EXACT_TOLERANCE:
        faults.append(f"largest error {max(worst):.2e}, {EXACT_TOLERANCE} allowed")
    for g, a in zip([golden] + golden["others"], answers):
        fault = check_greedy(g["greedy"], g["greedy_gap"], a["greedy"], EXACT_GAP)
        if fault:
            faults.append(fault)
    return f"max {max(worst):.2e}  median {statistics.median(worst):.2e}", faults


def judge_normal(golden, exact, answers):
    rows = rounding_errors(exact, answers)
    worst = [max(abs(e) for e in row) for row in rows]
    rms = math.sqrt(sum(e * e for row in rows for e in row) / sum(len(row) for row in rows))
    peer = golden["llama_cpp_cpu"]
    assert len(rows) == peer["positions"]
    limit = {"median": NOISE_FACTOR * peer["median_of_position_max"], "rms": NOISE_FACTOR * peer["rms"]}
    experts = "router_gap" in golden["positions"][0]
    if experts:
        clear = [w for w, p in zip(worst, golden["positions"]) if p["router_gap"] > ROUTER_NOISE]
        median = statistics.median(clear or worst)
    else:
        median = statistics.median(worst)
    faults = []
    if not median <= limit["median"]:
        faults.append(f"median error {median:.4f}, {limit['median']:.4f} allowed")
    if not experts:
        if not rms <= limit["rms"]:
            faults.append(f"rms error {rms:.4f}, {limit['rms']:.4f} allowed")
        noise = 4 * peer["median_of_position_max"] + 0.02
        for g, a in zip([golden] + golden["others"], answers):
            fault = check_greedy(g["greedy"], g["greedy_gap"], a["greedy"], noise)
            if fault:
                faults.append(fault)
    ratio = f"  median x{median / peer['median_of_position_max']:.2f}  rms x{rms / peer['rms']:.2f} of the peer's"
    return f"max {max(worst):.2e}  median {median:.2e}  rms {rms:.2e}{ratio}", faults


FAMILIES = ("llama", "qwen2", "qwen3", "qwen3moe", "qwen3next", "qwen35", "qwen35moe", "nemotron_h", "nemotron_h_moe", "mamba2")


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def shared_folder(own):
    beside = os.path.join(own, *[os.pardir] * 3, "shared")
    folder = os.path.join(os.environ.get("BATON_SHARED", beside), "fixtures")
    if not os.path.isdir(folder):
        skip("the larger set of models is not here (BATON_SHARED)")
    return folder


def main():
    args = sys.argv[1:]
    options = []
    if "--" in args:
        options = args[args.index("--") + 1:]
        args = args[:args.index("--")]
    folder = own = os.environ["BATON_TEST_DATA"]
    if args[:1] == ["--shared"]:
        folder = shared_folder(own)
    names = [a for a in args if a != "--shared"]
    if not names:
        names = sorted(f[:-5] for f in os.listdir(os.path.join(folder, "models")) if f.endswith(".gguf"))
        names = [n for n in names if n.split(".")[0].split("-")[0] in FAMILIES]
    if folder != own:
        names = [n for n in names if not os.path.exists(os.path.join(own, "models", n + ".gguf"))]
    good = True
    for name in names:
        with open(os.path.join(folder, "golden", name + ".json")) as f:
            golden = json.load(f)
        requests = [{"tokens": golden["prompt_tokens"], "top": golden["vocab_size"], "full": True,
                     "greedy": len(golden["greedy"])}]
        requests += [{"tokens": o["prompt_tokens"], "top": golden["vocab_size"], "greedy": len(o["greedy"])}
                     for o in golden["others"]]
        model = os.path.join(folder, "models", name + ".gguf")
        exact = ask(model, requests, ["--exact"] + options)
        # Where the other engine rounded nothing its noise is that of an f32 cache.
        cache = ["-ctk", "f32", "-ctv", "f32"] if name.endswith(".F32") else []
        normal = ask(model, requests, cache + options)
        modes = [("exact ", judge_exact(golden, exact))]
        if "llama_cpp_cpu" in golden:
            modes.append(("normal", judge_normal(golden, exact, normal)))
        for mode, (figures, faults) in modes:
            good &= not faults
            print("FAIL" if faults else "ok  ", f"{name:22s}", mode, figures, *(f"\n     {f}" for f in faults))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
