#!/usr/bin/env python3
"""`baton run` on a small model: its text is that of the logits, whatever way the prompt comes in."""
import json
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from talk import BATON, MODEL, MODELS, TEMPLATE, baton, decode, greedy, lines, tokens

PROMPT = 'The quick brown fox'


def run(*args, **kwargs):
    return baton('run', MODEL, *args, **kwargs)


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.template = cls.write('template', TEMPLATE)
        cls.ids, cls.text = greedy(PROMPT, 12, special=False)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.dir.name, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def test_raw_text_goes_on_greedily(self):
        self.assertEqual(len(self.ids), 12)
        for args in (['--temp', '0'], ['--top-k', '1'], ['--top-p', '0', '--seed', '9'], ['--temp', '0', '-ub', '2', '-t', '1'],
                     ['--temp', '0', '--no-mmap', '-b', '3']):
            out, _ = run(PROMPT, '--raw', '-n', '12', *args)
            self.assertEqual(out, self.text + '\n', args)

    def test_raw_text_is_what_the_model_reads(self):
        """Control tokens included, so that a rendered template gives the same answer."""
        talk = json.dumps([{'role': 'user', 'content': PROMPT}])
        rendered = baton('template', MODEL, '-f', '-', input=talk)[0]
        self.assertIn('<|im_start|>', rendered)
        args = ('-n', '6', '--temp', '0')
        self.assertEqual(run(rendered, '--raw', *args)[0], run(PROMPT, *args)[0])
        self.assertEqual(run(rendered, '--raw', *args)[0], greedy(rendered, 6)[1] + '\n')
        self.assertNotEqual(greedy(rendered, 6)[1], greedy(rendered, 6, special=False)[1])

    def test_ways_to_give_the_prompt(self):
        path = self.write('prompt', PROMPT + '\n')
        want = self.text + '\n'
        args = ('--raw', '-n', '12', '--temp', '0', '--no-stats')
        self.assertEqual(run('-p', PROMPT, *args), (want, ''))
        self.assertEqual(run('-f', path, *args), (want, ''))
        self.assertEqual(run(*args, input=PROMPT + '\n'), (want, ''))
        self.assertEqual(run('-f', '-', *args, input=PROMPT + '\n'), (want, ''))
        self.assertEqual(baton('run', '-m', MODEL, PROMPT, *args), (want, ''))
        both = greedy('Words:\n\n' + PROMPT, 5, special=False)[1]
        self.assertEqual(run('Words:', '-f', path, '--raw', '-n', '5', '--temp', '0')[0], both + '\n')

    def test_the_template_makes_the_prompt(self):
        args = ('--chat-template-file', self.template, '-n', '6', '--temp', '0')
        text = f'[user] {PROMPT}\n[assistant]'
        self.assertEqual(run(PROMPT, *args)[0], greedy(text, 6)[1] + '\n')
        self.assertEqual(run(PROMPT, '-sys', 'Be brief.', *args)[0], greedy('[system] Be brief.\n' + text, 6)[1] + '\n')
        self.assertEqual(run(PROMPT, '--chat-template-kwargs', '{"mark": " <m>"}', *args)[0],
                         greedy(text + ' <m>', 6)[1] + '\n')
        # Control tokens are the template's to write, but not the user's words' to be split at.
        own = run(PROMPT, '-n', '6', '--temp', '0')[0]
        self.assertNotEqual(own, self.text[:len(own)])

    def test_bad_templates(self):
        for source, text in (('{% if %}', 'chat template'), ('{{ raise_exception("no " ~ messages[0].role) }}', 'no user')):
            path = self.write('bad', source)
            out, err = run(PROMPT, '--chat-template-file', path, status=1)
            self.assertEqual((out, err.count('\n')), ('', 1), err)
            self.assertIn(text, err)

    def test_the_seed_decides(self):
        def sample(*args):
            return run(PROMPT, '--raw', '-n', '24', '--temp', '1.5', '--no-stats', *args)[0]
        first = sample('--seed', '1')
        self.assertEqual(sample('--seed', '1', '-t', '1', '-ub', '3'), first)
        self.assertGreater(len({sample('--seed', str(i)) for i in range(6)}), 4)
        self.assertGreater(len({sample() for _ in range(6)}), 4)

    def test_biases_forbid_and_force(self):
        first = self.ids[0]
        out, _ = run(PROMPT, '--raw', '-n', '1', '--temp', '0', '-l', f'{first}-inf')
        self.assertNotEqual(out, decode([first]) + '\n')
        out, _ = run(PROMPT, '--raw', '-n', '3', '--temp', '0', '-l', '400+1000')
        self.assertEqual(out, decode([400, 400, 400]) + '\n')
        # The penalty takes hold of what the bias has forced.
        out, _ = run(PROMPT, '--raw', '-n', '2', '--temp', '0', '-l', '400+1000', '--presence-penalty', '100',
                     '--frequency-penalty', '100', '--repeat-penalty', '100')
        self.assertNotEqual(out, decode([400, 400]) + '\n')

    def test_the_model_ends_its_answer(self):
        end = tokens('<|im_end|>')[-1]
        out, err = run(PROMPT, '--raw', '-n', '50', '--temp', '0', '-l', f'{end}+1000')
        self.assertEqual(out, '\n')
        self.assertRegex(err, r' eval time = +[\d.]+ ms / +1 tokens')
        out, _ = run(PROMPT, '--raw', '-n', '3', '--temp', '0', '-l', f'{end}+1000', '--ignore-eos')
        self.assertEqual(out, decode(self.ids[:3]) + '\n')
        out, _ = run(PROMPT, '--raw', '-n', '50', '--temp', '0', '-l', f'{end}+1000', '--special')
        self.assertRegex(out, r'^<\|im_end\|>\n$')

    def test_statistics(self):
        n = len(tokens(PROMPT, special=False))
        _, err = run(PROMPT, '--raw', '-n', '4', '--seed', '77')
        self.assertRegex(err, rf'prompt eval time = +[\d.]+ ms / +{n} tokens \( +[\d.]+ ms per token, +[\d.]+ tokens per second\)')
        self.assertRegex(err, r' eval time = +[\d.]+ ms / +4 tokens')
        self.assertRegex(err, r'memory = model [\d.]+ \w+ \(mapped\), KV cache')
        self.assertRegex(err, rf'context {n + 3} of \d+ tokens; seed 77\n')

    def test_a_full_context(self):
        out, err = run(PROMPT, '--raw', '-c', '32', '--temp', '0', '--ignore-eos')
        self.assertIn('the context of 32 tokens is full: the answer is cut off', err)
        self.assertIn('context 32 of 32 tokens', err)
        ids = lines('eval', [{'tokens': tokens(PROMPT, special=False), 'greedy': 33 - len(tokens(PROMPT, special=False))}])
        self.assertEqual(out, decode(ids[0]['greedy']) + '\n')
        out, err = run(PROMPT * 20, '--raw', '-c', '32', status=1)
        self.assertEqual(out, '')
        self.assertIn('the context holds 32: shorten it, or raise -c', err)

    def test_ctrl_c_while_a_file_is_read(self):
        """On a terminal a bar is drawn; Ctrl-C takes it away and ends the reading. The file is 6 GiB of holes."""
        with tempfile.NamedTemporaryFile(suffix='.gguf') as f:
            f.write(struct.pack('<4sIQQQ5sIQQIQ', b'GGUF', 3, 1, 0, 5, b'large', 2, 1 << 20, 1536, 0, 0))
            f.truncate((6 << 30) + 4096)
            pid, terminal = pty.fork()
            if not pid:
                os.execv(BATON, [BATON, 'run', f.name, 'x', '-mmp', '0'])
            got = b''
            try:
                while b'loading' not in got:
                    got += os.read(terminal, 4096)
                os.kill(pid, signal.SIGINT)
                while True:
                    got += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                pass
            os.close(terminal)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if b'are free' in got:
                self.skipTest('not enough memory to read the file')
            self.assertEqual(status, 130)
            self.assertRegex(got, rb'loading  [0-9.]+ [KMG]iB of 6.00 GiB +[0-9]+ %')
            self.assertTrue(got.endswith(b'\r\x1b[K'), got)

    def test_ctrl_c(self):
        process = subprocess.Popen([BATON, 'run', MODEL, PROMPT, '--raw', '-c', '200000', '--ignore-eos'],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = os.read(process.stdout.fileno(), 1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertTrue(out.endswith(b'\n'))
        self.assertIn(b'eval time', err)
        (first + out).decode()  # never half a character

    def test_what_goes_wrong(self):
        cases = (
            (2, 'the prompt is empty', []),
            (2, 'the prompt was given twice', ['a', '-p', 'b']),
            (2, "-l expects a token, a sign and a number, such as 15043+1, got 'x'", ['a', '-l', 'x']),
            (1, 'logit bias for token 99999999', ['a', '-l', '99999999+1']),
            (1, 'cannot read /nonexistent', ['-f', '/nonexistent']),
            (2, '--chat-template-kwargs is not JSON', ['a', '--chat-template-kwargs', '{']),
            (2, '--chat-template-kwargs expects a JSON object', ['a', '--chat-template-kwargs', '[]']),
        )
        for status, text, args in cases:
            out, err = run(*args, status=status)
            self.assertEqual((out, err.count('\n')), ('', 1), err)
            self.assertIn(text, err)
        _, err = baton('run', f'{MODELS}/missing.gguf', 'a', status=1)
        self.assertIn('missing.gguf', err)
        with open('/dev/full', 'w') as full:
            got = subprocess.run([BATON, 'run', MODEL, 'a', '-n', '3', '--raw'], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(got.returncode, 1)
        self.assertRegex(got.stderr, r'^baton: cannot write the answer')

    def test_words_that_are_no_utf8(self):
        got = subprocess.run([BATON.encode(), b'run', MODEL.encode(), b'\xff\xfe caf\xc3', b'-n', b'4', b'--chat-template-file',
                              self.template.encode(), b'--temp', b'0'], capture_output=True)
        self.assertEqual(got.returncode, 0, got.stderr)
        want = greedy('[user] \ufffd\ufffd caf\ufffd\n[assistant]', 4)[1]
        self.assertEqual(got.stdout.decode(), want + '\n')

    def test_peak_memory_is_told(self):
        _, err = run(PROMPT, '--raw', '-n', '1')
        self.assertGreater(float(re.search(r'peak resident ([\d.]+) MiB', err)[1]), 1)


if __name__ == '__main__':
    unittest.main()
