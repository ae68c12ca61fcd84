"""Directories of GGUF files at the sizes of real models, with holes in place of weights: for tools that read shapes only."""
import struct

U32, F32, STRING = 4, 6, 8
TYPES = {'f32': (0, 1, 4), 'q4_k': (12, 256, 144), 'q6_k': (14, 256, 210)}  # GGUF number, values and bytes of a block
# As the models' authors publish them: layers, width, heads, KV heads, values in a head, feed-forward width, vocabulary.
SHAPES = {'qwen2.5-7b': (28, 3584, 28, 4, 128, 18944, 152064),
          'qwen2.5-1.5b': (28, 1536, 12, 2, 128, 8960, 151936)}


def q4_k_m(name, layer, layers):
    """llama.cpp's mix: the output, and values and down projections of half the layers, a step up."""
    more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    return 'q6_k' if name.startswith('output') or more and ('attn_v' in name or 'ffn_down' in name) else 'q4_k'


def tensors(shape):
    layers, width, heads, kv, d, ff, vocab = shape
    out = [('token_embd.weight', (width, vocab), 'q4_k'), ('output_norm.weight', (width,), 'f32'),
           ('output.weight', (width, vocab), 'q6_k')]
    for i in range(layers):
        for name, dims in (('attn_q', (width, heads * d)), ('attn_k', (width, kv * d)), ('attn_v', (width, kv * d)),
                           ('attn_output', (heads * d, width)), ('ffn_gate', (width, ff)), ('ffn_up', (width, ff)),
                           ('ffn_down', (ff, width))):
            out.append((f'blk.{i}.{name}.weight', dims, q4_k_m(name, i, layers)))
            if name in ('attn_q', 'attn_k', 'attn_v'):
                out.append((f'blk.{i}.{name}.bias', dims[1:], 'f32'))
        out += [(f'blk.{i}.attn_norm.weight', (width,), 'f32'), (f'blk.{i}.ffn_norm.weight', (width,), 'f32')]
    return out


def write(path, name):
    """A qwen2 model of that name as Q4_K_M; the file takes no room on disk but its directory."""
    layers, width, heads, kv, _, ff, vocab = SHAPES[name]
    def text(s):
        return struct.pack('<Q', len(s)) + s.encode()
    values = [('general.architecture', STRING, text('qwen2')), ('tokenizer.ggml.model', STRING, text('none'))]
    values += [('qwen2.' + key, U32, struct.pack('<I', n)) for key, n in (
        ('block_count', layers), ('context_length', 32768), ('embedding_length', width), ('feed_forward_length', ff),
        ('attention.head_count', heads), ('attention.head_count_kv', kv), ('vocab_size', vocab))]
    values += [('qwen2.rope.freq_base', F32, struct.pack('<f', 1e6)),
               ('qwen2.attention.layer_norm_rms_epsilon', F32, struct.pack('<f', 1e-6))]
    infos, offset = [], 0
    for tensor, dims, kind in tensors(SHAPES[name]):
        number, block, size = TYPES[kind]
        n = 1
        for d in dims:
            n *= d
        infos.append(text(tensor) + struct.pack(f'<I{len(dims)}QIQ', len(dims), *dims, number, offset))
        offset += (n // block * size + 31) // 32 * 32
    head = b'GGUF' + struct.pack('<IQQ', 3, len(infos), len(values))
    head += b''.join(text(key) + struct.pack('<I', kind) + value for key, kind, value in values) + b''.join(infos)
    with open(path, 'wb') as f:
        f.write(head)
        f.truncate((len(head) + 31) // 32 * 32 + offset)
