#!/usr/bin/env python3
"""A small model whose matrices have every weight type that is looked up in a book on a GPU (src/backend/gpu/blocks.h), gates and
their partners of types with one book and of types with two: `baton doctor` compares each operation, and the logits, with the CPU's.

    lookup.py [options of baton doctor]
"""
import os, random, struct, subprocess, sys, tempfile

BATON = os.environ["BATON"]
U32, F32, STRING = 4, 6, 8
# Number in GGUF, values and bytes of a block, where its scale stands (a half; MXFP4: an exponent; IQ1_M: in four top nibbles).
TYPES = {"F32": (0, 1, 4, None), "Q2_K": (10, 256, 84, 80), "IQ2_XXS": (16, 256, 66, 0), "IQ2_XS": (17, 256, 74, 0),
         "IQ3_XXS": (18, 256, 98, 0), "IQ1_S": (19, 256, 50, 0), "IQ4_NL": (20, 32, 18, 0), "IQ3_S": (21, 256, 110, 0),
         "IQ2_S": (22, 256, 82, 0), "IQ4_XS": (23, 256, 136, 0), "IQ1_M": (29, 256, 56, 48), "TQ1_0": (34, 256, 54, 52),
         "TQ2_0": (35, 256, 66, 64), "MXFP4": (39, 32, 17, 0)}
SIZE = {"Q2_K": 0.005, "IQ4_NL": 0.0005, "IQ4_XS": 0.00003, "TQ1_0": 0.04, "TQ2_0": 0.04}  # of the scale; others 0.001
LAYERS = [  # q, k, v, output, gate, up, down
    ("IQ4_NL", "IQ4_XS", "MXFP4", "Q2_K", "IQ2_XS", "IQ2_S", "IQ3_XXS"),
    ("IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "IQ3_S", "IQ3_S", "IQ2_XXS"),
    ("IQ2_S", "Q2_K", "IQ3_S", "IQ1_M", "MXFP4", "IQ4_NL", "IQ4_XS"),
]
WIDTH, HEADS, KV, FF, VOCAB = 256, 4, 2, 512, 300


def block(kind, rng):
    _, values, size, at = TYPES[kind]
    if at is None:
        return struct.pack("<f", rng.uniform(0.5, 1.5))
    data = bytearray(rng.randbytes(size))
    scale = struct.pack("<e", SIZE.get(kind, 0.001) * rng.uniform(1, 2))
    if kind == "MXFP4":
        data[0] = rng.randrange(119, 123)
    elif kind == "IQ1_M":
        half, = struct.unpack("<H", scale)
        for k in range(4):
            data[at + 2 * k + 1] = data[at + 2 * k + 1] & 15 | (half >> 4 * k & 15) << 4
    else:
        data[at:at + 2] = scale
    if kind == "Q2_K":
        data[82:84] = struct.pack("<e", 0.007 * rng.uniform(1, 2))
    return bytes(data)


def tensors():
    out = [("token_embd.weight", (WIDTH, VOCAB), "Q2_K"), ("output_norm.weight", (WIDTH,), "F32"),
           ("output.weight", (WIDTH, VOCAB), "IQ4_XS")]
    d = WIDTH // HEADS
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    dims = ((WIDTH, WIDTH), (WIDTH, KV * d), (WIDTH, KV * d), (WIDTH, WIDTH), (WIDTH, FF), (WIDTH, FF), (FF, WIDTH))
    for i, kinds in enumerate(LAYERS):
        out += [(f"blk.{i}.{n}.weight", s, k) for n, s, k in zip(names, dims, kinds)]
        out += [(f"blk.{i}.{n}.weight", (WIDTH,), "F32") for n in ("attn_norm", "ffn_norm")]
    return out


def write(path):
    rng = random.Random(7)

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    values = [("general.architecture", STRING, text("llama")), ("tokenizer.ggml.model", STRING, text("none"))]
    values += [("llama." + key, U32, struct.pack("<I", n)) for key, n in (
        ("block_count", len(LAYERS)), ("context_length", 512), ("embedding_length", WIDTH), ("feed_forward_length", FF),
        ("attention.head_count", HEADS), ("attention.head_count_kv", KV), ("vocab_size", VOCAB))]
    values += [("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-6))]
    infos, body = b"", b""
    for name, dims, kind in tensors():
        n = dims[0] * (dims[1] if len(dims) > 1 else 1)
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TYPES[kind][0], len(body))
        body += b"".join(block(kind, rng) for _ in range(n // TYPES[kind][1]))
        body += bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors()), len(values))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in values) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + body)


def main():
    assert {k for layer in LAYERS for k in layer} == set(TYPES) - {"F32"}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lookup.gguf")
        write(path)
        run = subprocess.run([BATON, "doctor", path, *sys.argv[1:]], capture_output=True, text=True)
    print(run.stdout + run.stderr)
    if "no device" in run.stderr:
        return 77
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
