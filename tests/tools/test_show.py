"""Tests of `baton show`: what it says of a file against a reading of that file in Python, and bad files and arguments."""
import json
import os
import struct
import subprocess
import tempfile
import unittest

BATON = os.environ['BATON'].split()
DATA = os.environ['BATON_TEST_DATA']
MODEL = os.path.join(DATA, 'models', 'llama-plain.Q8_0.gguf')
SCALARS = {0: ('u8', 'B'), 1: ('i8', 'b'), 2: ('u16', 'H'), 3: ('i16', 'h'), 4: ('u32', 'I'), 5: ('i32', 'i'),
           6: ('f32', 'f'), 7: ('bool', '?'), 10: ('u64', 'Q'), 11: ('i64', 'q'), 12: ('f64', 'd')}
BLOCKS = {0: ('F32', 1, 4), 8: ('Q8_0', 32, 34)}


def show(*args):
    p = subprocess.run(BATON + ['show', *args], capture_output=True, check=False)
    return p.returncode, p.stdout, p.stderr


class Reader:
    """A plain reading of a sound GGUF file."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.data = f.read()
        self.pos = 4
        self.version, n_tensors, n_keys = self.take('<IQQ')
        self.keys = [self.key() for _ in range(n_keys)]
        self.tensors = [self.tensor() for _ in range(n_tensors)]
        start = (self.pos + 31) // 32 * 32
        for t in self.tensors:
            t['offset'] += start

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.pos)
        self.pos += struct.calcsize(form)
        return values

    def string(self):
        n, = self.take('<Q')
        self.pos += n
        return self.data[self.pos - n:self.pos].decode()

    def value(self, kind):
        return self.string() if kind == 8 else self.take('<' + SCALARS[kind][1])[0]

    def key(self):
        name = self.string()
        kind, = self.take('<I')
        if kind != 9:
            return {'key': name, 'type': 'string' if kind == 8 else SCALARS[kind][0], 'value': self.value(kind)}
        element, n = self.take('<IQ')
        return {'key': name, 'type': 'array', 'elements': 'string' if element == 8 else SCALARS[element][0],
                'count': n, 'value': [self.value(element) for _ in range(n)]}

    def tensor(self):
        name = self.string()
        n, = self.take('<I')
        shape = list(self.take(f'<{n}Q'))
        kind, offset = self.take('<IQ')
        label, block, size = BLOCKS[kind]
        values = 1
        for d in shape:
            values *= d
        return {'name': name, 'type': label, 'shape': shape, 'bytes': values // block * size, 'offset': offset, 'part': 1}


def gguf(keys, tensors=b'', n_tensors=0):
    """A file with string keys, given as pairs of bytes."""
    body = b''.join(struct.pack('<Q', len(k)) + k + struct.pack('<IQ', 8, len(v)) + v for k, v in keys)
    return b'GGUF' + struct.pack('<IQQ', 3, n_tensors, len(keys)) + body + tensors


class Show(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.TemporaryDirectory()
        self.addCleanup(self.top.cleanup)

    def file(self, data, name='x.gguf'):
        path = os.path.join(self.top.name, name)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    def test_json_says_what_the_file_says(self):
        want = Reader(MODEL)
        rc, out, err = show(MODEL, '--json', '--full', '--tensors')
        self.assertEqual((rc, err), (0, b''))
        got = json.loads(out)
        self.assertEqual(got['metadata'], want.keys)
        self.assertEqual(got['tensors'], want.tensors)
        self.assertEqual(got['version'], want.version)
        self.assertEqual(got['file_bytes'], os.path.getsize(MODEL))
        self.assertEqual(got['architecture'], 'llama')
        self.assertEqual(got['weight_bytes'], sum(t['bytes'] for t in want.tensors))
        types = {t['type']: t for t in got['types']}
        for label in ('F32', 'Q8_0'):
            mine = [t for t in want.tensors if t['type'] == label]
            self.assertEqual(types[label]['tensors'], len(mine))
            self.assertEqual(types[label]['bytes'], sum(t['bytes'] for t in mine))
        self.assertEqual(types['Q8_0']['bits_per_weight'], 8.5)
        self.assertEqual(got['parameters'], sum(t['parameters'] for t in got['types']))
        self.assertEqual(got['tokenizer'], {'model': 'gpt2', 'pre': 'llama-bpe', 'tokens': 512, 'chat_template': True,
                                            'usable': True, 'error': None})

    def test_arrays_are_shortened_without_full(self):
        rc, out, _ = show(MODEL, '--json')
        got = json.loads(out)
        self.assertEqual(rc, 0)
        self.assertNotIn('tensors', got)
        tokens = next(k for k in got['metadata'] if k['key'] == 'tokenizer.ggml.tokens')
        self.assertEqual((tokens['count'], len(tokens['value'])), (512, 8))

    def test_text_names_what_people_look_for(self):
        rc, out, err = show(MODEL)
        text = out.decode()
        self.assertEqual((rc, err), (0, b''))
        for line in ('architecture    llama', 'layers          2', 'tokens          512', 'pre-tokenizer   llama-bpe',
                     'ends an answer  509  <|endoftext|>\n                  511  <|im_end|>\n', 'string[512]', 'Q8_0 '):
            self.assertIn(line, text)
        self.assertNotIn('blk.0.attn_q.weight', text)
        rc, out, _ = show(MODEL, '--tensors')
        self.assertRegex(out.decode(), r'blk\.0\.attn_q\.weight +Q8_0 +128 x 128 +17408 +\d+\n')

    def test_memory_is_that_of_the_engine(self):
        def memory(*args):
            rc, out, _ = show(MODEL, '--json', *args)
            self.assertEqual(rc, 0)
            return json.loads(out)['memory']
        # 2 layers, 2 heads of 32 values for keys and as many for values: 2 bytes a value in f16, 34 / 32 in q8_0.
        trained = memory()
        self.assertEqual((trained['context'], trained['kv_cache']), (1024, 1024 * 512))
        self.assertEqual((trained['type_k'], trained['type_v'], trained['error']), ('f16', 'f16', None))
        other = memory('-c', '128', '-ctk', 'q8_0', '-ub', '32')
        self.assertEqual((other['context'], other['kv_cache'], other['ubatch']), (128, 128 * (136 + 256), 32))
        self.assertTrue(0 < other['scratch'] < trained['scratch'])
        rc, out, _ = show(MODEL, '-c', '128')
        self.assertRegex(out.decode(), r'KV cache +64.0 KiB  for 128 tokens')

    def test_what_cannot_run_is_shown_with_the_reason(self):
        path = os.path.join(DATA, 'malformed', '38-unknown-architecture.gguf')
        rc, out, _ = show(path, '--json')
        self.assertEqual(rc, 0)
        self.assertIn("'nonesuch' is not supported", json.loads(out)['memory']['error'])
        rc, out, _ = show(path)
        self.assertIn(b'Memory to run it\n  unusable        ', out)

    def test_one_value_in_full(self):
        want = {k['key']: k['value'] for k in Reader(MODEL).keys}
        for key in ('tokenizer.chat_template', 'general.architecture'):
            rc, out, _ = show(MODEL, '--key', key)
            self.assertEqual((rc, out.decode().rstrip('\n')), (0, want[key].rstrip('\n')))
        rc, out, _ = show(MODEL, '--key', 'tokenizer.ggml.merges')
        self.assertEqual(out.decode().split('\n')[:-1], want['tokenizer.ggml.merges'])
        rc, out, err = show(MODEL, '--key', 'no.such')
        self.assertEqual((rc, out), (1, b''))
        self.assertIn(b"has no key 'no.such'", err)

    def test_names_cannot_steer_the_terminal(self):
        path = self.file(gguf([(b'general.name', b'a\x1b[2Jb\x9b\xc2\x9b\xe2\x80\xaec\nd'), (b'k\x1b]', b'\xff' * 200)]))
        rc, out, _ = show(path)
        self.assertEqual(rc, 0)
        self.assertIn(rb'a\x1b[2Jb\x9b\xc2\x9b\xe2\x80\xaec\nd', out)
        self.assertFalse(set(out) & (set(range(32)) - {10}))
        rc, out, _ = show(path, '--json')
        self.assertEqual(json.loads(out)['metadata'][0]['value'], 'a\x1b[2Jb\ufffd\x9b\u202ec\nd')

    def test_files_without_tokenizer_or_tensors(self):
        rc, out, _ = show(self.file(gguf([])))
        self.assertEqual(rc, 0)
        self.assertIn(b'Tokenizer\n  none\n', out)
        rc, out, _ = show(self.file(gguf([])), '--json', '--tensors')
        self.assertEqual((json.loads(out)['parameters'], json.loads(out)['tensors']), (0, []))

    def test_a_tokenizer_that_cannot_be_used_is_shown_with_the_reason(self):
        rc, out, _ = show(os.path.join(DATA, 'malformed', '40-token-types-too-short.gguf'))
        self.assertEqual(rc, 0)
        self.assertIn(b'  unusable  ', out)

    def test_bad_files_get_one_line(self):
        with open(os.path.join(DATA, 'malformed', 'index.json'), encoding='utf-8') as f:
            index = json.load(f)
        for entry in index:
            rc, out, err = show(os.path.join(DATA, 'malformed', entry['file']))
            if entry['stage'] != 'parse':
                self.assertEqual(rc, 0, entry['file'])
                continue
            self.assertEqual((rc, out), (1, b''), entry['file'])
            self.assertEqual(err.count(b'\n'), 1, err)
            self.assertTrue(err.startswith(b'baton: ') and entry['file'].encode() in err, err)

    def test_wrong_arguments(self):
        for args, status in (((), 2), ((MODEL, MODEL), 2), ((MODEL, '--nonsense'), 2),
                             ((self.top.name,), 1), (('./no/such.gguf',), 1)):
            rc, out, err = show(*args)
            self.assertEqual((rc, out), (status, b''), args)
            self.assertEqual(err.count(b'\n'), 1, err)

    def test_a_full_disk_is_noticed(self):
        with open('/dev/full', 'wb') as full:
            for args in ((MODEL,), (MODEL, '--json', '--full')):
                p = subprocess.run(BATON + ['show', *args], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(p.returncode, 1)
                self.assertIn(b'cannot write', p.stderr)


    def place(self, name, *args):
        rc, out, err = show(os.path.join(DATA, 'models', name), '--place', *args)
        self.assertEqual((rc, err), (0, b''))
        return out.decode()

    def test_place(self):
        """Layers and bytes per device, in text and JSON, against the sizes of the tensors."""
        name = 'qwen35moe.Q4_0.gguf'
        args = ['-dev', 'CPU1', '-ngl', '2', '-ncmoe', '2', '-ot', r'blk\.2\.ffn_(gate|up|down)_shexp=CPU']
        o = json.loads(self.place(name, '--json', '--tensors', *args))
        p = o['placement']
        self.assertEqual(p['n_gpu_layers'], 2)
        size = {d['device']: d for d in p['devices']}
        far = sum(t['bytes'] for t in o['tensors'] if t['name'].startswith(('blk.1.', 'blk.2.'))
                  and not ('_exps' in t['name'] and '.1.' in t['name'])
                  and not (t['name'].split('.')[2] in ('ffn_gate_shexp', 'ffn_up_shexp', 'ffn_down_shexp')
                           and '.2.' in t['name']))
        self.assertEqual(size['CPU1']['weights'], far)
        self.assertEqual(size['CPU']['weights'] + far, o['weight_bytes'])
        self.assertEqual(sum(d['kv_cache'] for d in p['devices']), o['memory']['kv_cache'])
        self.assertEqual(sum(d['state'] for d in p['devices']), o['memory']['state'])
        self.assertEqual(sum(line['weights'] for line in p['layers']), o['weight_bytes'])
        # Layer 1: the routed experts on the CPU beside the shared one. Layer 2 the other way round, in two parts: the first
        # products need less than what follows them.
        self.assertEqual(p['overlaps'], 3)
        self.assertGreater(size['CPU']['segments'] + size['CPU1']['segments'], p['borders'] + 1)
        self.assertTrue(all(c['from'] != c['to'] and c['bytes_per_token'] > 0 for c in p['crossings']))
        text = self.place(name, *args)
        for line in p['layers']:
            self.assertIn(line['where'], text)
        self.assertIn('shared expert on CPU1; experts on CPU', text)
        self.assertIn('shared expert on CPU; experts on CPU1', text)
        self.assertIn('at the same time: 3 x', text)

    def test_place_of_one_device_says_that_options_change_nothing(self):
        text = self.place('llama-plain.Q8_0.gguf', '-ngl', '1', '-dev', 'CPU')
        self.assertIn('-ngl, -ncmoe and -ot change nothing', text)
        o = json.loads(self.place('llama-plain.Q8_0.gguf', '-ngl', '1', '-dev', 'CPU', '--json'))['placement']
        self.assertEqual((o['borders'], o['crossings'], o['n_gpu_layers']), (0, [], 0))
        self.assertEqual([line['layers'] for line in o['layers']], ['', '0-1', ''])

    def test_draft_layers_are_left_out(self):
        """The same model with one block more, said to be for multi-token prediction, has the same logits."""
        with open(os.path.join(DATA, 'models', 'qwen35.Q8_0.gguf'), 'rb') as f:
            data = bytearray(f.read())
        at = data.index(b'qwen35.block_count') + len('qwen35.block_count') + 4
        blocks, = struct.unpack_from('<I', data, at)
        struct.pack_into('<I', data, at, blocks + 1)
        struct.pack_into('<Q', data, 16, struct.unpack_from('<Q', data, 16)[0] + 2)
        more = b''
        for key, value in ((b'qwen35.nextn_predict_layers', 1), (b'pad.x', 0)):  # 64 bytes: tensors stay aligned
            more += struct.pack(f'<Q{len(key)}sII', len(key), key, 4, value)
        data[24:24] = more
        request = json.dumps({'tokens': [5, 17, 300, 42], 'top': 512}) + '\n'
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'draft.gguf')
            with open(path, 'wb') as f:
                f.write(data)
            rc, out, err = show(path)
            self.assertEqual((rc, err), (0, b''))
            self.assertIn(b'1 of the layers, for multi-token prediction: left out', out)
            answers = [subprocess.run(BATON + ['eval', p, '--json'], input=request, text=True, capture_output=True,
                                      check=True).stdout
                       for p in (path, os.path.join(DATA, 'models', 'qwen35.Q8_0.gguf'))]
        self.assertIn('argmax', answers[0])
        self.assertEqual(*answers)

    def test_place_refuses_bad_rules(self):
        for rule, words in (('blk=Vulkan9', b"no device 'Vulkan9'"), ('b(lk=CPU', b'no regular expression'),
                            ('blk', b'PATTERN=DEVICE')):
            rc, out, err = show(MODEL, '--place', '-ot', rule)
            self.assertEqual((rc, out, err.count(b'\n')), (1, b'', 1))
            self.assertIn(words, err)


if __name__ == '__main__':
    unittest.main()
