#!/usr/bin/env python3
"""`baton bench` on small models: what it measures and prints, not how fast it is."""
import csv
import io
import json
import os
import signal
import subprocess
import time
import unittest

BATON = os.environ['BATON']
MODELS = os.path.join(os.environ['BATON_TEST_DATA'], 'models')
LLAMA = f'{MODELS}/llama-plain.Q8_0.gguf'
QWEN = f'{MODELS}/qwen2.Q4_0.gguf'


def bench(*args, status=0):
    got = subprocess.run([BATON, 'bench', *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert got.returncode == status, (got.returncode, got.stderr)
    return got.stdout, got.stderr


class Bench(unittest.TestCase):
    def test_fields(self):
        out, err = bench(LLAMA, '-p', '16', '-n', '4', '-r', '3', '-o', 'json', '-t', '1')
        self.assertEqual(err, '')
        prompt, gen = json.loads(out)
        self.assertEqual((prompt['n_prompt'], prompt['n_gen'], gen['n_prompt'], gen['n_gen']), (16, 0, 0, 4))
        for row in (prompt, gen):
            self.assertEqual(row['model_filename'], LLAMA)
            self.assertTrue(row['model_type'].startswith('llama '), row)
            self.assertEqual((row['backends'], row['n_threads'], row['type_k']), ('CPU', 1, 'f16'))
            self.assertGreater(row['model_n_params'], 400_000)
            self.assertTrue(0 < row['model_size'] <= os.path.getsize(LLAMA))
            self.assertTrue(row['cpu_info'])
            self.assertRegex(row['build_commit'], r'^(unknown|[0-9a-f]{7,})$')
            self.assertRegex(row['test_time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
            self.assertEqual(len(row['samples_ns']), 3)
            tokens = row['n_prompt'] + row['n_gen']
            for ns, ts in zip(row['samples_ns'], row['samples_ts']):
                self.assertAlmostEqual(ts / (1e9 * tokens / ns), 1, 4)
            self.assertAlmostEqual(row['avg_ts'] / (sum(row['samples_ts']) / 3), 1, 4)

    def test_models_depths_types_and_two_outputs(self):
        out, err = bench(LLAMA, '-m', QWEN, '-p', '8', '-n', '2', '-pg', '4,2', '-d', '0,20', '-r', '1', '-ub', '8',
                         '-ctk', 'q8_0', '-mmp', '0', '-o', 'csv', '-oe', 'jsonl', '--no-warmup')
        rows = list(csv.DictReader(io.StringIO(out)))
        self.assertEqual([r['model_filename'] for r in rows], [QWEN] * 6 + [LLAMA] * 6)
        self.assertEqual([(r['n_prompt'], r['n_gen'], r['n_depth']) for r in rows[:6]],
                         [('8', '0', '0'), ('0', '2', '0'), ('4', '2', '0'),
                          ('8', '0', '20'), ('0', '2', '20'), ('4', '2', '20')])
        self.assertTrue(all(int(r['avg_ns']) > 0 and r['use_mmap'] == '0' and r['type_k'] == 'q8_0' for r in rows))
        self.assertEqual([json.loads(line)['avg_ns'] for line in err.splitlines()], [int(r['avg_ns']) for r in rows])

    def test_a_bad_model_does_not_stop_the_others(self):
        out, err = bench('/nonexistent.gguf', LLAMA, '-p', '4', '-n', '0', '-r', '1', '-o', 'jsonl', status=1)
        self.assertEqual(err.count('\n'), 1)
        self.assertIn('/nonexistent.gguf', err)
        self.assertEqual([json.loads(line)['model_filename'] for line in out.splitlines()], [LLAMA])

    def test_placement(self):
        """Every placement is a session of its own, and the columns hold what was placed."""
        out, err = bench(LLAMA, '-p', '8', '-n', '0', '-r', '1', '-dev', 'CPU1', '-ngl', '-1,1', '-ncmoe', '0,1', '-ot',
                         'none,ffn_down=CPU;blk.0.=CPU1', '-o', 'jsonl', '--progress')
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([(r['n_gpu_layers'], r['n_cpu_moe'], r['tensor_buft_overrides']) for r in rows],
                         [(n, m, o) for n in (3, 1) for m in (0, 1) for o in ('none', 'ffn_down=CPU;blk.0.=CPU1')])
        self.assertEqual([r['backends'] for r in rows[:2]], ['CPU1', 'CPU1, CPU'])
        self.assertEqual({r['devices'] for r in rows}, {'CPU1'})
        _, err = bench(LLAMA, '-p', '8', '-n', '0', '-r', '1', '-ot', 'ffn=Vulkan9', status=1)
        self.assertIn("no device 'Vulkan9'", err)
        out, _ = bench(LLAMA, '-p', '8', '-n', '0', '-r', '1', '-dev', 'CPU1/null')
        self.assertIn(' ngl |', out.splitlines()[0])

    def test_progress(self):
        _, err = bench(LLAMA, '-p', '4', '-n', '2', '-d', '8', '-r', '2', '--progress')
        for text in ('benchmark 1/2: starting', 'benchmark 2/2: warmup run', 'benchmark 1/2: depth run',
                     'benchmark 2/2: generation run 2/2'):
            self.assertIn(f'baton bench: {text}\n', err)

    def test_usage(self):
        for args in (['-p', '0', '-n', '0'], ['-pg', '1'], ['-o', 'xml']):
            out, err = bench(LLAMA, *args, status=2)
            self.assertEqual((out, err.count('\n')), ('', 1))
        bench(status=2)

    def test_ctrl_c(self):
        process = subprocess.Popen([BATON, 'bench', LLAMA, '-p', '100000', '-n', '0', '-o', 'json', '--progress'],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn('starting', process.stderr.readline())
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(json.loads(out), [])


if __name__ == '__main__':
    unittest.main()
