"""Small GGUF files for the tests of `baton quantize`: written and read here, apart from baton's own code."""
import itertools
import random
import struct

U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10
TYPES = {0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 6: 'Q5_0', 7: 'Q5_1', 8: 'Q8_0', 10: 'Q2_K', 11: 'Q3_K', 12: 'Q4_K',
         13: 'Q5_K', 14: 'Q6_K', 20: 'IQ4_NL', 23: 'IQ4_XS', 30: 'BF16', 34: 'TQ1_0', 35: 'TQ2_0', 39: 'MXFP4'}
SCALARS = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}


def text(s):
    return struct.pack('<Q', len(s)) + s.encode()


def value(v):
    if isinstance(v, str):
        return struct.pack('<I', STRING) + text(v)
    return struct.pack('<I', F32) + struct.pack('<f', v) if isinstance(v, float) else struct.pack('<II', U32, v)


def write(path, keys, tensors):
    """tensors: [(name, dims fastest first, data as bytes of F32 or F16 by their length)]."""
    head = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(keys))
    for key, v in keys.items():
        head += text(key) + value(v)
    offset = 0
    for name, dims, data in tensors:
        count = 1
        for d in dims:
            count *= d
        kind = {4: 0, 2: 1}[len(data) // count]
        head += text(name) + struct.pack('<I', len(dims)) + struct.pack(f'<{len(dims)}Q', *dims)
        head += struct.pack('<IQ', kind, offset)
        offset += -(-len(data) // 32) * 32
    with open(path, 'wb') as f:
        f.write(head + bytes(-len(head) % 32))
        for _, _, data in tensors:
            f.write(data + bytes(-len(data) % 32))


def read(path):
    """({key: value}, {name: (type, dims, data)})."""
    with open(path, 'rb') as f:
        b = f.read()
    at = 24

    def take(form):
        nonlocal at
        got = struct.unpack_from('<' + form, b, at)
        at += struct.calcsize('<' + form)
        return got if len(got) > 1 else got[0]

    def take_text():
        nonlocal at
        n = take('Q')
        at += n
        return b[at - n:at].decode()

    def take_value(kind):
        if kind == STRING:
            return take_text()
        if kind == ARRAY:
            kind, n = take('IQ')
            return [take_value(kind) for _ in range(n)]
        return take(SCALARS[kind])

    n_tensors, n_keys = struct.unpack_from('<QQ', b, 8)
    keys = {}
    for _ in range(n_keys):
        key = take_text()
        keys[key] = take_value(take('I'))
    infos = []
    for _ in range(n_tensors):
        name = take_text()
        dims = struct.unpack_from(f'<{take("I")}Q', b, at)
        at += 8 * len(dims)
        infos.append((name, dims, *take('IQ')))
    base = at + -at % 32
    ends = sorted(i[3] for i in infos)[1:] + [len(b) - base]
    ends = dict(zip(sorted(i[3] for i in infos), ends))
    return keys, {name: (TYPES[kind], dims, b[base + offset:base + ends[offset]])
                  for name, dims, kind, offset in infos}


def halves(count, seed=1):
    """count random F16 values around 0, as bytes."""
    rng = random.Random(seed)
    return struct.pack(f'<{count}e', *(rng.gauss(0, 0.05) for _ in range(count)))


def layered(layers, heads, kv_heads, experts=0, width=256, ffn=256, tied=False):
    """Keys and tensors of a model of family llama: real names, few rows."""
    keys = {'general.architecture': 'llama', 'llama.block_count': layers, 'llama.context_length': 128,
            'llama.embedding_length': width, 'llama.feed_forward_length': ffn, 'llama.attention.head_count': heads,
            'llama.attention.head_count_kv': kv_heads, 'llama.attention.layer_norm_rms_epsilon': 1e-5,
            'llama.rope.dimension_count': width // heads, 'llama.vocab_size': 2}
    if experts:
        keys |= {'llama.expert_count': experts, 'llama.expert_used_count': 2}
    shapes = [('token_embd.weight', (width, 2)), ('output_norm.weight', (width,))]
    if not tied:
        shapes.append(('output.weight', (width, 2)))
    per_layer = [('attn_norm.weight', (width,)), ('attn_q.weight', (width, 2)), ('attn_k.weight', (width, 2)),
                 ('attn_v.weight', (width, 2)), ('attn_q.bias', (2,)), ('attn_output.weight', (width, 2)),
                 ('ffn_norm.weight', (width,))]
    if experts:
        per_layer += [('ffn_gate_inp.weight', (width, experts)), ('ffn_gate_exps.weight', (width, 2, experts)),
                      ('ffn_up_exps.weight', (width, 2, experts)), ('ffn_down_exps.weight', (ffn, 2, experts))]
    else:
        per_layer += [('ffn_gate.weight', (width, 2)), ('ffn_up.weight', (width, 2)), ('ffn_down.weight', (ffn, 2))]
    shapes += [(f'blk.{i}.{name}', dims) for i in range(layers) for name, dims in per_layer]
    noise = halves(width * 16)
    tensors = []
    for name, dims in shapes:
        count = 1
        for d in dims:
            count *= d
        tensors.append((name, dims, (noise * (count * 2 // len(noise) + 1))[:count * 2]))
    return keys, tensors


MODELS = {
    'many layers': lambda: layered(32, 4, 4),
    'grouped queries, tied': lambda: layered(12, 8, 2, tied=True),
    '70B': lambda: layered(80, 8, 1),
    'eight experts': lambda: layered(16, 8, 2, experts=8),
    'four experts': lambda: layered(24, 8, 2, experts=4),
    'odd widths': lambda: layered(8, 4, 4, width=288, ffn=200),
}


def summary(types):
    """{tensor: type} as {kind of tensor: 'Q6_K*2 Q4_K ...' along the layers}."""
    kinds = {}
    for name, kind in types.items():
        layer, _, rest = name.removeprefix('blk.').partition('.') if name.startswith('blk.') else ('0', '', name)
        kinds.setdefault(rest, []).append((int(layer), kind))
    out = {}
    for rest, row in kinds.items():
        runs = [(kind, len(list(run))) for kind, run in itertools.groupby(kind for _, kind in sorted(row))]
        out[rest] = ' '.join(kind if n == 1 else f'{kind}*{n}' for kind, n in runs)
    return out
