#!/usr/bin/env python3
"""The outputs of `baton bench` hold what the parsers of their formats expect, and all of them the same."""
import csv
import io
import json
import sqlite3
import subprocess
import sys
import unittest

SAMPLE = sys.argv[1]
# llama-bench's, from its README
FIELDS = '''build_commit build_number cpu_info gpu_info backends model_filename model_type model_size model_n_params n_batch
n_ubatch n_threads cpu_mask cpu_strict poll type_k type_v n_gpu_layers n_cpu_moe split_mode main_gpu no_kv_offload
flash_attn devices tensor_split tensor_buft_overrides use_mmap use_direct_io embeddings no_op_offload no_host n_prompt
n_gen n_depth test_time avg_ns stddev_ns avg_ts stddev_ts'''.split()
GRID = ['m"odel, one', "it's.gguf", '-p', '512,64', '-n', '128', '-pg', '32,16', '-d', '0,1024', '-mmp', '0,1', '-ub',
        '64-256*2']


def sample(form, *args):
    got = subprocess.run([SAMPLE, form, *(args or GRID)], capture_output=True, text=True, timeout=60)
    assert got.returncode == 0, got.stderr
    return got.stdout, json.loads(got.stderr)


class Formats(unittest.TestCase):
    def test_json(self):
        text, rows = sample('json')
        self.assertEqual(json.loads(text), rows)
        self.assertEqual(len(rows), 2 * 2 * 3 * 2 * 4)
        for row in rows:
            self.assertEqual(list(row), FIELDS + ['samples_ns', 'samples_ts'])
            for name in ('cpu_strict', 'no_kv_offload', 'use_mmap', 'embeddings', 'no_host', 'use_direct_io'):
                self.assertIs(type(row[name]), bool)
            for name in ('n_batch', 'n_gpu_layers', 'flash_attn', 'avg_ns', 'no_op_offload', 'poll'):
                self.assertIs(type(row[name]), int)
            self.assertIs(type(row['avg_ts']), float)

    def test_the_grid_turns_in_order(self):
        rows = sample('json')[1]
        want = []
        for model in GRID[:2]:
            for mmap in (False, True):
                for ubatch in (64, 128, 256):
                    for depth in (0, 1024):
                        for prompt, gen in ((512, 0), (64, 0), (0, 128), (32, 16)):
                            want.append((model, mmap, ubatch, depth, prompt, gen))
        names = ('model_filename', 'use_mmap', 'n_ubatch', 'n_depth', 'n_prompt', 'n_gen')
        self.assertEqual([tuple(r[n] for n in names) for r in rows], want)

    def test_statistics(self):
        first, second = sample('json')[1][:2]
        self.assertEqual(first['samples_ns'], [2000000000, 1000000000, 4000000000])
        self.assertEqual(first['samples_ts'], [256, 512, 128])
        self.assertEqual((first['avg_ns'], first['stddev_ns']), (2333333333, 1527525231))
        self.assertAlmostEqual(first['avg_ts'], 298.666667, 5)
        self.assertAlmostEqual(first['stddev_ts'], 195.523230, 5)
        self.assertEqual((second['avg_ns'], second['stddev_ns'], second['avg_ts'], second['stddev_ts']),
                         (2000000000, 0, 32, 0))

    def test_jsonl(self):
        text, rows = sample('jsonl')
        self.assertEqual([json.loads(line) for line in text.splitlines()], rows)

    def test_csv(self):
        text, rows = sample('csv')
        table = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual(text.splitlines()[0], ','.join(FIELDS))
        self.same(table, rows)

    def same(self, table, rows):
        self.assertEqual(len(table), len(rows))
        for got, row in zip(table, rows):
            for name in FIELDS:
                want = row[name]
                if isinstance(want, bool):
                    want = int(want)
                if isinstance(want, float):
                    self.assertAlmostEqual(float(got[name]), want, 5)
                else:
                    self.assertEqual(str(got[name]), str(want), name)

    def test_sql(self):
        text, rows = sample('sql')
        db = sqlite3.connect(':memory:')
        db.row_factory = sqlite3.Row
        db.executescript(text)
        db.executescript(text)  # the table may be there already
        table = db.execute('SELECT * FROM llama_bench').fetchall()
        self.assertEqual(list(table[0].keys()), FIELDS)
        self.same(table, rows + rows)
        self.assertEqual(db.execute('SELECT max(avg_ts) FROM llama_bench').fetchone()[0],
                         max(r['avg_ts'] for r in rows))

    def table(self, *args):
        text, rows = sample('md', *args)
        lines = text.split('\n')
        self.assertEqual(lines[-3], '')
        self.assertEqual(lines[-2], 'build: %s (%d)' % (rows[0]['build_commit'], rows[0]['build_number']))
        cells = [[c.strip() for c in line.strip('|').split('|')] for line in lines[:-3]]
        self.assertEqual(len({len(line) for line in lines[:-3]}), 1, text)  # every row as wide as the head
        return cells, rows

    def test_md(self):
        cells, rows = self.table('m', '-p', '512', '-n', '128', '-pg', '32,16', '-d', '0,9')
        self.assertEqual(cells[0], ['model', 'size', 'params', 'backend', 'threads', 'test', 't/s'])
        self.assertEqual(cells[1][0].strip('-'), '')
        self.assertTrue(all(c.endswith(':') for c in cells[1][1:3] + cells[1][4:]))
        self.assertEqual([c[-2] for c in cells[2:]],
                         ['pp512', 'tg128', 'pp32+tg16', 'pp512 @ d9', 'tg128 @ d9', 'pp32+tg16 @ d9'])
        self.assertEqual([c[-1] for c in cells[2:]], ['%.2f ± %.2f' % (r['avg_ts'], r['stddev_ts']) for r in rows])
        self.assertEqual((cells[2][1], cells[3][1]), ('5.00 GiB', '93.81 MiB'))
        self.assertEqual((cells[2][2], cells[3][2]), ('7.62 B', '134.52 M'))

    def test_md_shows_what_was_chosen(self):
        for args, column in ((['-b', '64'], 'n_batch'), (['-ub', '64,512'], 'n_ubatch'), (['-ctk', 'q8_0'], 'type_k'),
                             (['-ctv', 'q8_0'], 'type_v'), (['-mmp', '0'], 'mmap'), (['-fa', '0,1'], 'fa'),
                             (['-ncmoe', '3'], 'n_cpu_moe'), (['-dev', 'CPU'], 'dev'), (['-ngl', '3,4'], 'ngl'),
                             (['-ot', 'exps=CPU'], 'ot')):
            cells, _ = self.table('m', *args)
            self.assertEqual(set(cells[0]) - {'model', 'size', 'params', 'backend', 'threads', 'test', 't/s'}, {column})

    def test_mistakes(self):
        for args, text in ((['-pg', '5'], '-pg expects two numbers'), (['-p', '0', '-n', '0'], 'nothing to measure'),
                           (['-p', '1-9999', '-d', '1-60000', '-b', '1-60000'], 'more than a million')):
            got = subprocess.run([SAMPLE, 'json', 'm', *args], capture_output=True, text=True, timeout=60)
            self.assertEqual(got.returncode, 2)
            self.assertIn(text, got.stderr)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
