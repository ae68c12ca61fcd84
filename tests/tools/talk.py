"""What the tests of `run` and `chat` share: the command line, and what greedy decoding must give."""
import json
import os
import subprocess

BATON = os.environ['BATON']
MODELS = os.path.join(os.environ['BATON_TEST_DATA'], 'models')
MODEL = f"{MODELS}/{os.environ.get('BATON_TEST_MODEL', 'qwen2.Q4_0')}.gguf"
# A template of our own, so that the prompt is known: no template language is under test here.
TEMPLATE = ('{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}'
            '{% if add_generation_prompt %}[assistant]{% endif %}{{ mark }}')


def baton(*args, status=0, text=True, **kwargs):
    kwargs.setdefault('stdin' if 'input' not in kwargs else 'errors', subprocess.DEVNULL if 'input' not in kwargs else None)
    got = subprocess.run([BATON, *args], capture_output=True, text=text, timeout=120, **kwargs)
    assert got.returncode == status, (args, got.returncode, got.stderr)
    return got.stdout, got.stderr


def lines(tool, requests, model=MODEL):
    out, _ = baton(tool, model, '--json', input=''.join(json.dumps(r) + '\n' for r in requests))
    answers = [json.loads(line) for line in out.splitlines()]
    assert all('error' not in a for a in answers), answers
    return answers


def tokens(text, special=True, model=MODEL):
    return lines('tokenize', [{'text': text, 'parse_special': special, 'add_bos': True}], model)[0]['ids']


def decode(ids, model=MODEL):
    """The text that is streamed for these ids."""
    return ''.join(lines('tokenize', [{'ids': ids}], model)[0]['emit'])


def greedy(text, n, special=True, model=MODEL):
    """The likeliest n tokens behind a text, and their text."""
    ids = lines('eval', [{'tokens': tokens(text, special, model), 'greedy': n}], model)[0]['greedy']
    return ids, decode(ids, model)
