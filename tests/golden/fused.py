#!/usr/bin/env python3
"""Experts whose gate and up matrices are fused into ffn_gate_up_exps, as some converters write them: the same model, written
either way, has the same bits.

    fused.py [options of baton eval]
"""
import json, os, struct, subprocess, sys, tempfile

BATON = os.environ["BATON"]
MODEL = os.path.join(os.environ["BATON_TEST_DATA"], "models", "qwen35moe.Q4_0.gguf")
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
BLOCKS = {0: (1, 4), 2: (32, 18), 8: (32, 34), 14: (256, 210)}  # type: values and bytes of a block


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 4
        self.version, self.n_tensors, self.n_keys = self.take("<IQQ")

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.pos)
        self.pos += struct.calcsize(form)
        return values

    def string(self):
        n, = self.take("<Q")
        self.pos += n
        return self.data[self.pos - n:self.pos].decode()

    def skip(self, kind, n=1):
        if kind == ARRAY:
            self.skip(*self.take("<IQ"))
        elif kind == STRING:
            for _ in range(n):
                self.string()
        else:
            self.pos += SIZES[kind] * n


def fuse(data):
    """The file with every pair of ffn_gate_exps and ffn_up_exps as one tensor: of each expert gate rows first."""
    r = Reader(data)
    for _ in range(r.n_keys):
        r.string()
        r.skip(*r.take("<I"))
    keys = data[24:r.pos]
    tensors = []
    for _ in range(r.n_tensors):
        name = r.string()
        dims = r.take(f"<{r.take('<I')[0]}Q")
        tensors.append((name, dims, *r.take("<IQ")))
    start = (r.pos + 31) // 32 * 32

    def bytes_of(dims, kind, offset):
        n = 1
        for d in dims:
            n *= d
        values, size = BLOCKS[kind]
        return data[start + offset:start + offset + n // values * size]

    content = {name: (dims, kind, bytes_of(dims, kind, offset)) for name, dims, kind, offset in tensors}
    fused = 0
    for name in [n for n in content if n.endswith("ffn_gate_exps.weight")]:
        up = content.get(name.replace("gate", "up"))
        dims, kind, gate = content[name]
        if up[:2] != (dims, kind):
            continue
        step = len(gate) // dims[2]
        both = b"".join(gate[i:i + step] + up[2][i:i + step] for i in range(0, len(gate), step))
        del content[name], content[name.replace("gate", "up")]
        content[name.replace("gate", "gate_up")] = ((dims[0], 2 * dims[1], dims[2]), kind, both)
        fused += 1
    assert fused, "the model has no experts to fuse"
    infos, body = b"", b""
    for name, (dims, kind, values) in content.items():
        infos += struct.pack(f"<Q{len(name)}sI{len(dims)}QIQ", len(name), name.encode(), len(dims), *dims, kind, len(body))
        body += values + bytes(-len(values) % 32)
    head = data[:4] + struct.pack("<IQQ", r.version, len(content), r.n_keys) + keys + infos
    return head + bytes(-len(head) % 32) + body


def logits(path):
    request = json.dumps({"tokens": [(i * 131 + 11) % 500 for i in range(70)], "top": 512, "full": True}) + "\n"
    run = subprocess.run([BATON, "eval", path, "--json", *sys.argv[1:]], input=request, capture_output=True, text=True)
    if "no device" in run.stderr:
        print("skipped:", run.stderr.strip())
        sys.exit(77)
    assert run.returncode == 0 and "error" not in run.stdout, run.stderr + run.stdout[:200]
    return run.stdout


def main():
    with open(MODEL, "rb") as f:
        data = f.read()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fused.gguf")
        with open(path, "wb") as f:
            f.write(fuse(data))
        same = logits(path) == logits(MODEL)
    print("the same bits" if same else "FAIL: other logits than those of separate matrices")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
