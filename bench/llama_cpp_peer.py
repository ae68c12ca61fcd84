"""llama.cpp through the package llama-cpp-python, for bench/peers and bench/perplexity_peer: they start this file with
the Python that has the package. The measurements are done as llama-bench and llama-perplexity do them (examples of
llama.cpp: tools/llama-bench, tools/perplexity); results are JSON lines on stdout."""
import argparse
import ctypes
import json
import os
import random
import resource
import sys
import time

started = time.perf_counter()
import llama_cpp as lc  # noqa: E402 (the time to load the library counts as start-up)


@lc.llama_log_callback
def quiet(_level, _text, _data):
    pass


def fail(text):
    sys.exit(f'llama.cpp: {text}')


def load(path, mapped=True):
    lc.llama_log_set(quiet, ctypes.c_void_p(0))
    lc.llama_backend_init()
    params = lc.llama_model_default_params()
    params.n_gpu_layers = 0
    if not mapped:
        params.load_mode = 0
    model = lc.llama_model_load_from_file(path.encode(), params)
    return model or fail(f'cannot load {path}')


def context(model, args, n_ctx):
    params = lc.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = args.b
    params.n_ubatch = args.ub
    params.n_threads = params.n_threads_batch = args.t
    params.flash_attn_type = args.fa
    params.type_k = {'f16': 1, 'q8_0': 8}[args.ctk]
    params.type_v = {'f16': 1, 'q8_0': 8}[args.ctv]
    params.no_perf = True
    return lc.llama_init_from_model(model, params) or fail('cannot create a context')


def decode(ctx, tokens):
    ids = (lc.llama_token * len(tokens))(*tokens)  # the batch points into it
    batch = lc.llama_batch_get_one(ids, len(tokens))
    if lc.llama_decode(ctx, batch):
        fail('llama_decode failed')


def prompt(ctx, model, args, n):
    """n random tokens in batches, as llama-bench does."""
    vocab = lc.llama_model_get_vocab(model)
    size = lc.llama_vocab_n_tokens(vocab)
    done = 0
    while done < n:
        part = [random.randrange(size) for _ in range(min(args.b, n - done))]
        if done == 0 and lc.llama_vocab_get_add_bos(vocab):
            part[0] = lc.llama_vocab_bos(vocab)
        decode(ctx, part)
        done += len(part)
    lc.llama_synchronize(ctx)


def generate(ctx, model, n):
    vocab = lc.llama_model_get_vocab(model)
    size = lc.llama_vocab_n_tokens(vocab)
    token = lc.llama_vocab_bos(vocab) if lc.llama_vocab_get_add_bos(vocab) else random.randrange(size)
    for _ in range(n):
        decode(ctx, [token])
        lc.llama_synchronize(ctx)
        token = random.randrange(size)


def bench(args):
    """One line for each prompt size, generation length and depth, with llama-bench's field names."""
    model = load(args.model, args.mmp)
    tests = [(p, 0, d) for d in args.d for p in args.p if p] + [(0, n, d) for d in args.d for n in args.n if n]
    for n_prompt, n_gen, depth in tests:
        ctx = context(model, args, n_prompt + n_gen + depth)
        memory = lc.llama_get_memory(ctx)
        if n_prompt:
            prompt(ctx, model, args, min(n_prompt, args.b))  # warm-up
        if n_gen:
            generate(ctx, model, 1)
        samples = []
        for _ in range(args.r):
            lc.llama_memory_clear(memory, False)
            if depth:
                prompt(ctx, model, args, depth)
            begin = time.perf_counter()
            if n_prompt:
                prompt(ctx, model, args, n_prompt)
            if n_gen:
                generate(ctx, model, n_gen)
            samples.append((n_prompt + n_gen) / (time.perf_counter() - begin))
        lc.llama_free(ctx)
        print(json.dumps({'n_prompt': n_prompt, 'n_gen': n_gen, 'n_depth': depth, 'n_threads': args.t,
                          'avg_ts': sum(samples) / len(samples), 'samples_ts': samples}), flush=True)
    lc.llama_model_free(model)


def tokenize(model, text, special):
    vocab = lc.llama_model_get_vocab(model)
    data = text.encode() if isinstance(text, str) else text
    ids = (lc.llama_token * (len(data) + 16))()
    n = lc.llama_tokenize(vocab, data, len(data), ids, len(ids), True, special)
    if n < 0:
        fail('cannot tokenize')
    return list(ids[:n])


def first(args):
    """From before the library is loaded to the first token of an answer."""
    model = load(args.model)
    ctx = context(model, args, 512)
    ids = tokenize(model, args.prompt, True)
    decode(ctx, ids)
    size = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    logits = lc.llama_get_logits_ith(ctx, -1)
    max(range(size), key=logits.__getitem__)
    print(json.dumps({'seconds': time.perf_counter() - started, 'n_prompt': len(ids)}))


def perplexity(args):
    """llama-perplexity: chunks of -c tokens, the second half of each is judged."""
    import numpy as np
    model = load(args.model)
    vocab = lc.llama_model_get_vocab(model)
    size = lc.llama_vocab_n_tokens(vocab)
    with open(args.f, 'rb') as f:
        ids = tokenize(model, f.read(), False)
    args.b = max(args.b, args.c)
    ctx = context(model, args, args.c)
    memory = lc.llama_get_memory(ctx)
    chunks = len(ids) // args.c
    if args.chunks > 0:
        chunks = min(chunks, args.chunks)
    if len(ids) < 2 * args.c:
        fail(f'the text has {len(ids)} tokens, fewer than two contexts of {args.c}')
    half, total, squares, count = args.c // 2, 0.0, 0.0, 0
    for chunk in range(chunks):
        part = ids[chunk * args.c:(chunk + 1) * args.c]
        targets = part[:]
        if lc.llama_vocab_get_add_bos(vocab):
            part[0] = lc.llama_vocab_bos(vocab)
        lc.llama_memory_clear(memory, True)
        batch = lc.llama_batch_init(args.c, 0, 1)
        batch.n_tokens = args.c
        for i, token in enumerate(part):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
            batch.logits[i] = i >= half
        if lc.llama_decode(ctx, batch):
            fail('llama_decode failed')
        lc.llama_batch_free(batch)
        for i in range(half, args.c - 1):
            row = np.ctypeslib.as_array(lc.llama_get_logits_ith(ctx, i), (size,)).astype(np.float64)
            top = row.max()
            nll = float(np.log(np.exp(row - top).sum()) + top - row[targets[i + 1]])
            total, squares, count = total + nll, squares + nll * nll, count + 1
    mean = total / count
    spread = (max(squares / count - mean * mean, 0) / (count - 1)) ** 0.5
    print(json.dumps({'perplexity': float(np.exp(mean)), 'error': float(np.exp(mean) * spread), 'chunks': chunks,
                      'tokens': len(ids)}))


def main():
    numbers = lambda text: [int(x) for x in text.split(',')]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=['bench', 'first', 'perplexity', 'version'])
    parser.add_argument('model', nargs='?')
    parser.add_argument('-p', type=numbers, default=[512])
    parser.add_argument('-n', type=numbers, default=[128])
    parser.add_argument('-d', type=numbers, default=[0])
    parser.add_argument('-b', type=int, default=2048)
    parser.add_argument('-ub', type=int, default=512)
    parser.add_argument('-t', type=int, default=os.cpu_count())
    parser.add_argument('-r', type=int, default=1)
    parser.add_argument('-fa', type=int, default=1)
    parser.add_argument('-ctk', default='f16')
    parser.add_argument('-ctv', default='f16')
    parser.add_argument('-mmp', type=int, default=1)
    parser.add_argument('-c', type=int, default=512)
    parser.add_argument('-f')
    parser.add_argument('--chunks', type=int, default=-1)
    parser.add_argument('--prompt', default='Why is the sky blue?')
    args = parser.parse_args()
    if args.what == 'version':
        print(f'llama-cpp-python {lc.__version__}')
        return
    {'bench': bench, 'first': first, 'perplexity': perplexity}[args.what](args)
    print(json.dumps({'peak_kib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


if __name__ == '__main__':
    main()
