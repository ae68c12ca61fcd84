#!/usr/bin/env python3
"""`baton doctor` finds right devices right and wrong ones wrong: the null device, which computes nothing, is as wrong as can be."""
import json
import os
import unittest

from talk import MODELS, baton


def doctor(*args, status=0):
    out, err = baton('doctor', *args, status=status)
    return out, err


class Doctor(unittest.TestCase):
    def test_the_cpu_agrees_with_itself(self):
        for model in ([], [os.path.join(MODELS, 'qwen35moe.Q4_0.gguf')], [os.path.join(MODELS, 'nemotron_h.Q8_0.gguf')]):
            out, err = doctor(*model, '-dev', 'CPU1')
            self.assertEqual(err, '')
            self.assertRegex(out, r'^CPU1: ')
            self.assertRegex(out, r'\n  operations  [1-9]\d kinds tried, 0 wrong; largest difference 0\.0e\+00')
            self.assertEqual('logits' in out, bool(model))
            self.assertTrue(out.endswith('\n  verdict     all right\n'))

    def test_a_device_that_computes_nothing_is_wrong(self):
        for model in ([], [os.path.join(MODELS, 'qwen3.Q8_0.gguf')]):
            out, err = doctor(*model, '-dev', 'CPU1,null', status=1)
            self.assertEqual(err, '')
            good, bad = out.split('null: ')
            self.assertIn('verdict     all right', good)
            self.assertRegex(bad, r"WRONG       matmul Q8_0 of layer 0 and \d+ like it: other values than the CPU's")
            self.assertIn('WRONG       attention', bad)
            self.assertEqual('WRONG       logits differ' in bad, bool(model))
            self.assertIn('verdict     WRONG', bad)

    @unittest.skipUnless('Vulkan0' in baton('bench', '--list-devices')[0], 'no Vulkan device')
    def test_vulkan_agrees_with_the_cpu(self):
        for model in ([], [os.path.join(MODELS, 'qwen35moe.Q4_0.gguf')], [os.path.join(MODELS, 'nemotron_h.Q8_0.gguf')]):
            out, err = doctor(*model, '-dev', 'Vulkan0')
            self.assertEqual(err, '')
            self.assertRegex(out, r'\n  operations  [1-9]\d kinds tried, 0 wrong; ')
            self.assertEqual('logits' in out, bool(model))

    def test_json(self):
        out, _ = doctor(os.path.join(MODELS, 'qwen3.Q8_0.gguf'), '-dev', 'CPU1,null', '--json', status=1)
        good, bad = map(json.loads, out.splitlines())
        self.assertEqual([good['device'], bad['device']], ['CPU1', 'null'])
        self.assertEqual([good['ok'], bad['ok']], [True, False])
        self.assertTrue(all(op['ok'] and op['error'] == 0 for op in good['operations']))
        self.assertFalse(any(op['ok'] for op in bad['operations']))
        self.assertEqual({op['op'] for op in good['operations']},
                         {'embed', 'rms_norm', 'matmul', 'rope', 'attention', 'gather', 'logits'})
        self.assertEqual([good['logits']['ok'], bad['logits']['ok']], [True, False])
        # Each kind once, and together as many as the plan has, but for what fills the cache.
        kinds = [(op['op'], op['types']) for op in good['operations']]
        self.assertGreater(sum(op['alike'] for op in good['operations']), len(kinds))

    def test_every_weight_type_that_baton_writes_is_tried(self):
        out, _ = doctor('-dev', 'CPU1', '--json')
        types = {op['types'] for op in json.loads(out)['operations'] if op['op'] == 'matmul'}
        self.assertLessEqual({'F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'}, types)

    def test_what_it_refuses(self):
        out, err = doctor('-dev', 'Vulkan77', status=1)
        self.assertEqual(out, '')
        self.assertIn("no device 'Vulkan77'", err)
        _, err = doctor('/nowhere.gguf', '-dev', 'CPU1', status=1)
        self.assertEqual(err.count('\n'), 1)

    def test_gpus_that_are_there_are_right(self):
        out, err = doctor('--no-kernel-cache')
        self.assertEqual(err, '')
        self.assertTrue('no GPU' in out or out.count('verdict     all right') == out.count('verdict'), out)


if __name__ == '__main__':
    unittest.main()
