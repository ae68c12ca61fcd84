#!/usr/bin/env python3
"""`baton perplexity` against the same computed here from the logits that `baton eval` gives."""
import json
import math
import os
import re
import struct
import subprocess
import tempfile
import unittest

BATON = os.environ['BATON']
MODELS = os.path.join(os.environ['BATON_TEST_DATA'], 'models')
MODEL, OTHER = f'{MODELS}/qwen2.Q4_0.gguf', f'{MODELS}/qwen2.Q4_1.gguf'
CTX, CHUNKS = 24, 3
TEXT = ''.join(f'Line {i}: the quick brown fox jumps over {i * i} lazy dogs.\n' for i in range(40))


def baton(*args, status=0, **kwargs):
    got = subprocess.run([BATON, *args], capture_output=True, text=True, timeout=120, **kwargs)
    assert got.returncode == status, (args, got.returncode, got.stderr)
    return got.stdout, got.stderr


def lines(tool, model, requests, *args):
    out, _ = baton(tool, model, '--json', *args, input=''.join(json.dumps(r) + '\n' for r in requests))
    return [json.loads(line) for line in out.splitlines()]


def log_probs(model, windows):
    """For each window, for each scored position: the list of log-probabilities."""
    n_vocab = None
    rows = []
    for window in windows:
        answers = lines('eval', model, [{'tokens': window[:i + 1], 'full': True} for i in range(CTX // 2, CTX - 1)])
        for answer in answers:
            logits = answer['final_logits']
            top = max(logits)
            norm = top + math.log(sum(math.exp(x - top) for x in logits))
            rows.append([x - norm for x in logits])
            n_vocab = len(logits)
    return rows, n_vocab


class Perplexity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.text = os.path.join(cls.dir.name, 'text')
        cls.base = os.path.join(cls.dir.name, 'base')
        with open(cls.text, 'w') as f:
            f.write(TEXT)
        cls.out, _ = baton('perplexity', MODEL, '-f', cls.text, '-c', str(CTX), '--chunks', str(CHUNKS),
                           '--kl-divergence-base', cls.base)
        ids = lines('tokenize', MODEL, [{'text': TEXT.rstrip('\n'), 'parse_special': False, 'add_bos': True}])[0]['ids']
        cls.windows = [ids[i * CTX:(i + 1) * CTX] for i in range(CHUNKS)]
        cls.next = [w[i + 1] for w in cls.windows for i in range(CTX // 2, CTX - 1)]
        cls.rows, cls.n_vocab = log_probs(MODEL, cls.windows)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def close(self, got, want, tolerance=2e-4):
        self.assertLess(abs(float(got) - want), tolerance * max(1, abs(want)), (got, want))

    def test_the_estimate(self):
        nlls = [-row[t] for row, t in zip(self.rows, self.next)]
        n = len(nlls)
        running = re.findall(r'\[(\d+)\]([\d.]+),', self.out)
        self.assertEqual([int(i) for i, _ in running], list(range(1, CHUNKS + 1)))
        for i, value in running:
            part = nlls[:int(i) * n // CHUNKS]
            self.close(value, math.exp(sum(part) / len(part)))
        mean = sum(nlls) / n
        error = math.sqrt((sum(x * x for x in nlls) / n - mean * mean) / (n - 1))
        final = re.search(r'\nFinal estimate: PPL = ([\d.]+) \+/- ([\d.]+)\n$', self.out)
        self.close(final[1], math.exp(mean))
        self.close(final[2], math.exp(mean) * error)

    def test_the_windows_do_not_depend_on_batches(self):
        out, _ = baton('perplexity', MODEL, '-f', self.text, '-c', str(CTX), '--chunks', str(CHUNKS), '-ub', '5', '-t', '1')
        self.assertEqual(out, self.out)

    def test_the_file_is_llama_cpps(self):
        with open(self.base, 'rb') as f:
            self.assertEqual(f.read(8), b'_logits_')
            self.assertEqual(struct.unpack('<3i', f.read(12)), (CTX, self.n_vocab, CHUNKS))
            tokens = struct.unpack(f'<{CTX * CHUNKS}i', f.read(4 * CTX * CHUNKS))
            self.assertEqual(list(tokens), sum(self.windows, []))
            words = 2 * ((self.n_vocab + 1) // 2) + 4
            for row in self.rows:
                data = f.read(2 * words)
                scale, least = struct.unpack('<2f', data[:8])
                values = struct.unpack(f'<{self.n_vocab}H', data[8:8 + 2 * self.n_vocab])
                self.assertEqual((max(values), min(values)), (65535, 0))
                for value, want in zip(values, row):
                    self.assertLess(abs(scale * value + least - max(want, least)), scale + 1e-4)
            self.assertEqual(f.read(), b'')

    def test_a_model_does_not_diverge_from_itself(self):
        out, _ = baton('perplexity', MODEL, '--kl-divergence', '--kl-divergence-base', self.base)
        self.assertIn('Same top p: 100.000 ± 0.000 %', out)
        self.close(re.search(r'Mean    KLD: +(-?[\d.]+) ±', out)[1], 0, 1e-5)
        self.close(re.search(r'Mean PPL\(Q\)/PPL\(base\) +: +([\d.]+) ±', out)[1], 1, 1e-5)

    def test_divergence(self):
        out, _ = baton('perplexity', OTHER, '--kl-divergence', '--kl-divergence-base', self.base)
        other, _ = log_probs(OTHER, self.windows)
        klds = sorted(sum(math.exp(b) * (b - q) for b, q in zip(base, row)) for base, row in zip(self.rows, other))
        dps = sorted(math.exp(row[t]) - math.exp(base[t]) for base, row, t in zip(self.rows, other, self.next))
        same = sum(max(range(self.n_vocab), key=base.__getitem__) == max(range(self.n_vocab), key=row.__getitem__)
                   for base, row in zip(self.rows, other))
        n = len(klds)

        def value(label):
            return re.search(rf'^ *{label} *: +(-?[\d.]+)', out, re.M)[1]

        def percentile(values, fraction):
            at = fraction * (n - 1)
            i = int(at)
            return values[i] + (at - i) * (values[min(i + 1, n - 1)] - values[i])

        self.close(value('Mean    KLD'), sum(klds) / n, 1e-3)
        self.close(value('Maximum KLD'), klds[-1], 1e-3)
        self.close(value('Median  KLD'), percentile(klds, 0.5), 1e-3)
        self.close(value(r'95\.0%   KLD'), percentile(klds, 0.95), 1e-3)
        self.close(value(r'5\.0%   KLD'), percentile(klds, 0.05), 1e-3)
        self.close(value('Minimum KLD'), klds[0], 1e-3)
        self.close(value('Mean    Δp'), 100 * sum(dps) / n, 2e-3)
        self.close(value('RMS Δp'), 100 * math.sqrt(sum(x * x for x in dps) / n), 2e-3)
        self.close(value('Maximum Δp'), 100 * dps[-1], 2e-3)
        self.close(value(r'Mean PPL\(Q\)'), math.exp(-sum(r[t] for r, t in zip(other, self.next)) / n))
        self.close(value(r'Mean PPL\(base\)'), math.exp(-sum(r[t] for r, t in zip(self.rows, self.next)) / n))
        self.close(value('Same top p'), 100 * same / n, 1e-4)

    def test_what_goes_wrong(self):
        short = os.path.join(self.dir.name, 'short')
        with open(short, 'w') as f:
            f.write('too short')
        cases = (
            (2, 'the text is missing', []),
            (2, 'needs the file to compare with', ['--kl-divergence']),
            (1, 'at least two windows of 512', ['-f', short]),
            (1, 'cannot read /nonexistent', ['-f', '/nonexistent']),
            (1, 'cannot write /nonexistent/x', ['-f', self.text, '-c', '24', '--kl-divergence-base', '/nonexistent/x']),
            (1, 'not a file of --kl-divergence-base', ['--kl-divergence', '--kl-divergence-base', self.text]),
            (1, 'No space left', ['-f', self.text, '-c', '24', '--kl-divergence-base', '/dev/full']),
        )
        for status, text, args in cases:
            out, err = baton('perplexity', MODEL, *args, status=status)
            self.assertIn(text, err)
            self.assertNotIn('Final', out)
        with open(self.base, 'rb') as f:
            data = f.read()
        cut = os.path.join(self.dir.name, 'cut')
        for content, text in ((data[:-1], 'are needed'), (data[:15], 'ends too early'),
                              (data[:8] + struct.pack('<3i', CTX, self.n_vocab, 1 << 30) + data[20:], 'are needed'),
                              (data[:8] + struct.pack('<3i', -5, self.n_vocab, 1) + data[20:], 'impossible sizes'),
                              (data[:20] + b'\xff\xff\xff\x7f' + data[24:], 'is not in a vocabulary'),
                              (data[:8] + struct.pack('<3i', CTX, self.n_vocab - 8, 1) + data[20:], 'a vocabulary of')):
            with open(cut, 'wb') as f:
                f.write(content)
            _, err = baton('perplexity', MODEL, '--kl-divergence', '--kl-divergence-base', cut, status=1)
            self.assertIn(text, err)
            self.assertEqual(err.count('\n'), 1)


if __name__ == '__main__':
    unittest.main()
