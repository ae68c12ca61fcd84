#!/usr/bin/env python3
"""`baton quantize` from outside: the bytes and the types that llama.cpp gives, options, bad input, interruption."""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

import models

BATON = os.environ.get('BATON', 'build/src/tools/baton')
DATA = os.environ.get('BATON_TEST_DATA', 'tests/data')
LINE = re.compile(r'\[ *\d+/ *\d+\] (\S+) +- \[.*\], type = +(\w+), (?:converting to (\w+) \.\. )?size =')


def baton(*args):
    return subprocess.run([BATON, 'quantize', *args], capture_output=True, text=True, timeout=300, check=False)


def printed_types(output):
    return {m[1]: m[3] or m[2] for m in map(LINE.match, output.splitlines()) if m}


class Quantize(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, keys=None, tensors=None):
        if tensors is None:
            keys, tensors = models.layered(2, 4, 4)
        models.write(self.path(name), keys, tensors)
        return self.path(name)

    def run_ok(self, *args):
        done = baton(*args)
        self.assertEqual((done.returncode, done.stderr), (0, ''), args)
        return done.stdout

    def run_fails(self, status, part, *args):
        before = sorted(os.listdir(self.dir))
        done = baton(*args)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        self.assertIn(part, done.stderr)
        self.assertEqual(sorted(os.listdir(self.dir)), before)

    def test_same_bytes_as_llama_cpp(self):
        """The fixture's Q8_0 file was made by llama-quantize from its F32 file."""
        folder = os.path.join(DATA, 'models')
        out = self.path('out.gguf')
        self.run_ok(os.path.join(folder, 'llama-plain.F32.gguf'), out, 'Q8_0')
        got_keys, got = models.read(out)
        want_keys, want = models.read(os.path.join(folder, 'llama-plain.Q8_0.gguf'))
        self.assertEqual(got_keys, want_keys)
        self.assertEqual(got, want)

    def test_types_of_llama_cpp(self):
        """Every mix over models that reach every rule gives each tensor the type that llama.cpp gives it."""
        with open(os.path.join(DATA, 'quants', 'mixes.json'), encoding='utf-8') as f:
            golden = json.load(f)['types']
        self.assertEqual(set(golden), set(models.MODELS))
        for name, mixes in golden.items():
            path = self.make('m.gguf', *models.MODELS[name]())
            for mix, want in mixes.items():
                got = models.summary(printed_types(self.run_ok('--dry-run', path, self.path('none'), mix)))
                for kind, types in want.items():
                    self.assertEqual(got[kind], types, f'{name}, {mix}: {kind}')
        self.assertFalse(os.path.exists(self.path('none')))

    def test_printed_types_are_written(self):
        path, out = self.make('m.gguf', *models.MODELS['odd widths']()), self.path('out.gguf')
        for mix in 'Q4_K_M', 'iq4_xs', 'MXFP4_MOE':
            printed = self.run_ok(path, out, mix)
            keys, tensors = models.read(out)
            self.assertEqual(printed_types(printed), {n: t[0] for n, t in tensors.items()})
            self.assertEqual(keys['general.quantization_version'], 2)
        self.assertIn("(rows of 288 don't fit Q4_K)", self.run_ok(path, out, 'Q4_K_M'))
        self.assertEqual(models.read(out)[0]['general.file_type'], 15)

    def test_threads_do_not_matter(self):
        path = self.make('m.gguf', *models.layered(1, 4, 4, width=2048, ffn=2048))
        files = []
        for n in '1', '2', '3':
            self.run_ok(path, self.path('out.gguf'), 'Q3_K_M', n)
            with open(self.path('out.gguf'), 'rb') as f:
                files.append(f.read())
        self.assertEqual(files[0], files[1])
        self.assertEqual(files[0], files[2])

    def test_options(self):
        path = self.make('m.gguf')

        def types(*args):
            return models.summary(printed_types(self.run_ok('--dry-run', *args, path, '-', 'Q4_K_M')))

        self.assertEqual(types('--pure')['ffn_down.weight'], 'Q4_K*2')
        self.assertEqual(types('--pure')['output.weight'], 'Q4_K')
        self.assertEqual(types('--leave-output-tensor')['output.weight'], 'F16')
        got = types('--output-tensor-type', 'q5_0', '--token-embedding-type', 'BF16')
        self.assertEqual((got['output.weight'], got['token_embd.weight']), ('Q5_0', 'BF16'))
        self.run_fails(2, "'IQ2_XS' is no type that baton can write", '--output-tensor-type', 'IQ2_XS', path, '-', 'Q8_0')
        for number, name in (('15', 'Q4_K_M'), ('7', 'Q8_0'), ('0', 'F32'), ('18', 'Q6_K')):
            self.assertEqual(self.run_ok('--dry-run', path, '-', number), self.run_ok('--dry-run', path, '-', name))
        self.run_fails(2, "unknown type '4'", path, self.path('out'), '4')
        self.run_fails(2, "unknown type 'Q9'", path, self.path('out'), 'Q9')
        self.run_fails(2, 'no number of threads', path, self.path('out'), 'Q8_0', 'many')

    def test_requantizing_is_asked_for(self):
        path, q8, q4 = self.make('m.gguf'), self.path('q8.gguf'), self.path('q4.gguf')
        self.run_ok(path, q8, 'Q8_0')
        self.run_fails(1, 'is Q8_0 already', q8, q4, 'Q4_0')
        self.run_ok('--allow-requantize', q8, q4, 'Q4_0')
        self.assertEqual(models.read(q4)[1]['blk.0.attn_q.weight'][0], 'Q4_0')
        self.run_ok(q8, q4, 'Q8_0')  # nothing to do twice
        self.assertEqual(models.read(q4), models.read(q8))

    def test_output_may_replace_the_input(self):
        path = self.make('m.gguf')
        self.run_ok(path, self.path('out.gguf'), 'Q5_1')
        self.run_ok(path, path, 'Q5_1')
        self.assertEqual(models.read(path), models.read(self.path('out.gguf')))
        self.assertEqual(sorted(os.listdir(self.dir)), ['m.gguf', 'out.gguf'])

    def test_split_input(self):
        keys, tensors = models.layered(2, 4, 4)
        whole = self.make('whole.gguf', keys, tensors)
        for i, part in enumerate((tensors[:5], tensors[5:])):
            split = {'split.no': i, 'split.count': 2, 'split.tensors.count': len(tensors)}
            self.make(f'part-0000{i + 1}-of-00002.gguf', keys | split if i == 0 else split, part)
        first = self.path('part-00001-of-00002.gguf')
        for mix in 'COPY', 'Q4_1':
            self.run_ok(whole, self.path('a.gguf'), mix)
            self.run_ok(first, self.path('b.gguf'), mix)
            self.assertEqual(models.read(self.path('a.gguf')), models.read(self.path('b.gguf')))
        self.run_ok(first, self.path('b.gguf'), 'COPY')
        self.assertEqual(models.read(self.path('b.gguf'))[1], models.read(whole)[1])

    def test_bad_values(self):
        for bad, part in ((float('nan'), 'not a number'), (float('-inf'), 'infinite'), (1e9, 'too large for F16')):
            weights = [0.5] * 512
            weights[300] = bad
            path = self.make('m.gguf', {'general.architecture': 'llama'},
                             [('output.weight', (256, 2), struct.pack('<512f', *weights))])
            self.run_fails(1, 'tensor output.weight', path, self.path('out'), 'F16')
            self.run_fails(1, part, path, self.path('out'), 'F16')
        self.run_fails(1, 'no-such.gguf', self.path('no-such.gguf'), self.path('out'), 'F16')
        self.run_fails(1, self.path('no/out'), path, self.path('no/out'), 'F32')

    def test_interruption_leaves_nothing(self):
        rng = random.Random(1)
        noise = struct.pack('<8192f', *(rng.gauss(0, 1) for _ in range(8192))) * 512
        path = self.make('m.gguf', {'general.architecture': 'llama'},
                         [('output.weight', (256, 2), noise[:2048])] +
                         [(f'blk.{i}.attn_q.weight', (4096, 1024), noise) for i in range(4)])
        with subprocess.Popen([BATON, 'quantize', path, self.path('out.gguf'), 'Q2_K', '1'], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as p:
            self.assertIn('output.weight', p.stdout.readline())
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=120)
        self.assertEqual((p.returncode, err), (130, ''))
        self.assertEqual(os.listdir(self.dir), ['m.gguf'])


if __name__ == '__main__':
    unittest.main()
