#!/usr/bin/env python3
"""`baton chat` through a pipe and on a pseudo-terminal."""
import codecs
import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import termios
import time
import unittest

from talk import BATON, MODEL, TEMPLATE, baton, greedy, tokens

N = 5  # tokens of each answer


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, args, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(args[0], args, env)
        self.seen = ''
        self.decoder = codecs.getincrementaldecoder('utf-8')('replace')

    def expect(self, text, timeout=30):
        """Read until text comes; everything up to its end."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            try:
                data = os.read(self.fd, 65536) if ready else b''
            except OSError:
                data = b''
            assert data, f'{text!r} did not come, but {self.seen!r}'
            self.seen += self.decoder.decode(data)
        at = self.seen.index(text) + len(text)
        got, self.seen = self.seen[:at], self.seen[at:]
        return got

    def ready(self, timeout=30):
        """Wait for the prompt, and until what is typed goes to the line editor."""
        self.expect('> ')
        deadline = time.monotonic() + timeout
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def send(self, text):
        os.write(self.fd, text.encode())

    def end(self, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.02)[0]:
                try:
                    self.seen += self.decoder.decode(os.read(self.fd, 65536))
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(f'it did not end: {self.seen!r}')


class Chat(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.template = self.path('template')
        with open(self.template, 'w') as f:
            f.write(TEMPLATE)
        self.env = {**os.environ, 'XDG_STATE_HOME': self.path('state'), 'TERM': 'xterm', 'LC_ALL': 'C.UTF-8'}
        self.args = ['chat', MODEL, '--chat-template-file', self.template, '-n', str(N), '--temp', '0']

    def tearDown(self):
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def answers(self, messages, system=None):
        """What the model says to the messages, one after the other."""
        text = f'[system] {system}\n' if system else ''
        out = []
        for m in messages:
            text += f'[user] {m}\n'
            out.append(greedy(text + '[assistant]', N)[1])
            text += f'[assistant] {out[-1]}\n'
        return out

    def chat(self, text, *args, **kwargs):
        return baton(*self.args, '--no-stats', *args, input=text, env=self.env, **kwargs)

    def terminal(self, *args):
        t = Terminal([BATON, *self.args, '--no-stats', *args], self.env)
        t.expect('Ctrl-D leaves.')
        t.ready()
        return t

    def test_turns_through_a_pipe(self):
        want = self.answers(['Hello', 'And then?', 'More'])
        out, err = self.chat('Hello\nAnd then?\n\nMore')
        self.assertEqual((out, err), (''.join(w + '\n' for w in want), ''))
        out, _ = self.chat('And then?\nMore\n', '-p', 'Hello')
        self.assertEqual(out, ''.join(w + '\n' for w in want))
        want = self.answers(['two\nlines'], 'Be brief.')
        self.assertEqual(self.chat('two\\\nlines\n', '-sys', 'Be brief.')[0], want[0] + '\n')

    def test_commands(self):
        saved, text = self.path('c.json'), self.path('c.txt')
        one, again = self.answers(['One'])[0], self.answers(['Again'], 'Be brief.')[0]
        out, err = self.chat(f'One\n/clear\n/system Be brief.\n/system\nAgain\n/save {saved}\n/save {text}\n/what\n/save\n'
                             '/system -\n/system\n/exit\nnot read\n')
        self.assertEqual(out, f'{one}\nBe brief.\n{again}\n')
        self.assertIn('(forgotten)', err)
        self.assertIn('(no such command: /what; /help lists them)', err)
        self.assertIn("a file's name is missing", err)
        self.assertIn('there is no system message', err)
        with open(saved) as f:
            self.assertEqual(json.load(f), [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Again'},
                                            {'role': 'assistant', 'content': again}])
        with open(text) as f:
            self.assertEqual(f.read(), f'## system\n\nBe brief.\n\n## user\n\nAgain\n\n## assistant\n\n{again}\n\n')
        out, err = self.chat('/help\n/regen\n/save /nonexistent/x\n')
        for name in ('/help', '/clear', '/system', '/regen', '/save', '/exit'):
            self.assertIn(f'  {name} ', out)
        self.assertIn('there is no answer yet', err)
        self.assertIn('baton: cannot write /nonexistent/x: No such file', err)

    def test_regen_answers_anew(self):
        out, _ = self.chat('Hello\n/regen\n/regen\n/regen\n', '--temp', '2', '--top-k', '0', '--top-p', '1', '--min-p', '0',
                           '--seed', '1')
        self.assertGreater(len(set(out.split('\n')[:4])), 2)
        want = self.answers(['Hello', 'Then'])
        out, _ = self.chat('Hello\n/regen\nThen\n')  # greedy: the same again, and the conversation is as if it were the first
        self.assertEqual(out, f'{want[0]}\n{want[0]}\n{want[1]}\n')

    def test_a_full_context_drops_the_oldest_turns(self):
        messages = [f'Message number {i} with some words' for i in range(12)]
        out, err = self.chat('\n'.join(messages) + '\n', '-c', '128', '-sys', 'Be brief.')
        self.assertIn('(the context of 128 tokens is full: the oldest messages are left out)', err)
        self.assertNotIn('baton:', err)
        long = 'word ' * 200
        out, err = self.chat(f'{long}\nHello\n', '-c', '128')
        self.assertIn('the context holds 128: shorten it, or raise -c', err)
        self.assertEqual(out, self.answers(['Hello'])[0] + '\n')  # the long message is forgotten

    def test_errors_of_the_template_do_not_end_it(self):
        with open(self.template, 'w') as f:
            f.write('{% if messages|length > 1 %}{{ raise_exception("too many") }}{% endif %}' + TEMPLATE)
        out, err = self.chat('Hello\nAgain\n/clear\nHello\n')
        want = self.answers(['Hello'])[0]
        self.assertEqual(out, f'{want}\n{want}\n')
        self.assertEqual(err.count('baton: chat template: too many\n'), 1)

    def test_line_editing_and_history(self):
        first, second = self.answers(['Hello', 'Hello'])
        t = self.terminal()
        t.send('Hexxo\x1b[D\x7f\x7fll\r')  # left, twice backspace, ll
        t.expect(first.replace('\n', '\r\n'))
        t.ready()
        t.send('\x1b[A\r')  # up
        t.expect(second.replace('\n', '\r\n'))
        t.ready()
        t.send('\x04')
        self.assertEqual(t.end(), 0)
        with open(self.path('state/baton/chat_history')) as f:
            self.assertIn('Hello', f.read().replace('\\040', ' '))
        t = self.terminal()
        t.send('\x1b[A')
        t.expect('Hello')
        t.send('\x15/exit\r')
        self.assertEqual(t.end(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        end = tokens('<|im_end|>')[-1], tokens('<|endoftext|>')[-1]
        t = self.terminal('-c', '200000', '-n', '-1', *sum((['-l', f'{i}-inf'] for i in end), []))
        t.send('Hello\r')
        t.expect('\r\n')
        time.sleep(0.3)
        t.send('\x03')
        t.expect('(stopped)')
        t.ready()
        t.send('unfinished\x03')
        t.expect('Ctrl-D or /exit leaves')
        t.ready()
        t.send('/help\r')
        t.expect('/regen')
        t.ready()
        t.send('/exit\r')
        self.assertEqual(t.end(), 0)

    def test_a_full_disk_ends_it(self):
        with open('/dev/full', 'w') as full:
            got = subprocess.run([BATON, *self.args], input='a\nb\n', env=self.env, stdout=full, stderr=subprocess.PIPE,
                                 text=True, timeout=60)
        self.assertEqual((got.returncode, got.stderr), (1, 'baton: cannot write the output: No space left on device\n'))

    def test_no_template(self):
        plain = self.path('plain.gguf')
        with open(MODEL, 'rb') as f, open(plain, 'wb') as g:
            g.write(f.read().replace(b'tokenizer.chat_template', b'tokenizer.chat_templatX'))
        _, err = baton('chat', plain, status=1, env=self.env)
        self.assertIn('no chat template: --chat-template-file FILE gives one', err)
        self.assertEqual(err.count('\n'), 1)
        out, err = baton('run', plain, 'Hello', '-n', '4', '--temp', '0', '--no-stats')
        self.assertEqual(out, greedy('Hello', 4)[1] + '\n')
        self.assertIn('the text is continued as it is', err)

    def test_statistics_at_the_end(self):
        _, err = baton(*self.args, input='Hello\n', env=self.env)
        self.assertRegex(err, rf' eval time = +[\d.]+ ms / +{N} tokens')


if __name__ == '__main__':
    unittest.main()
