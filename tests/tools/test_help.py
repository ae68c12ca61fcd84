#!/usr/bin/env python3
"""Help, manual pages and the table of options say the same; every default is a value that the option takes."""
import json
import os
import re
import subprocess
import sys
import unittest

BATON = os.environ['BATON']
PAGES = sys.argv[1]  # folder of the manual pages that the build has written


def baton(*args):
    got = subprocess.run([BATON, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return got.returncode, got.stdout, got.stderr


TOOLS = json.loads(baton('--dump-options')[1])


class Help(unittest.TestCase):
    def test_every_tool_is_listed_with_its_page(self):
        status, out, err = baton('--help')
        self.assertEqual((status, err), (0, ''))
        self.assertGreater(len(TOOLS), 0)
        self.assertEqual(sorted(re.findall(r'^  ([a-z]+) ', out, re.M)), sorted(TOOLS), 'each tool once')
        for name, tool in TOOLS.items():
            self.assertRegex(out, r'\n  %s +%s\n' % (name, re.escape(tool['summary'])))
            with open(f'{PAGES}/baton-{name}.1') as f:
                self.assertEqual(f.read(), baton('--man', name)[1])
        pages = {p for p in os.listdir(PAGES) if p.endswith('.1')}
        self.assertEqual(pages, {'baton.1'} | {f'baton-{n}.1' for n in TOOLS})

    def test_every_option_is_in_help_and_manual(self):
        for name, tool in TOOLS.items():
            status, text, _ = baton(name, '--help')
            self.assertEqual(status, 0)
            self.assertEqual(text, baton('help', name)[1])
            self.assertTrue(text.startswith(f'usage: baton {name} [options]'))
            self.assertTrue(all(len(line) <= 120 for line in text.splitlines()))
            flat = ' '.join(text.split())
            page = baton('--man', name)[1].replace('\\-', '-').replace('\\e', '\\')
            for option in tool['options']:
                row = ', '.join(option['names']) + (' ' + option['metavar'] if option['metavar'] else '')
                self.assertIn('\n  ' + row, text)
                self.assertIn(option['help'], flat)
                self.assertIn('\\fB%s\\fR' % ', '.join(option['names']), page)
                self.assertIn(option['help'], page)
                if option['default'] is not None:
                    self.assertIn('default: ' + option['default'], flat)
                for choice in (option['choices'] or '').split('|'):
                    self.assertIn(choice, flat)

    def test_names_are_unique_and_rows_complete(self):
        for name, tool in TOOLS.items():
            names = [n for o in tool['options'] for n in o['names']]
            self.assertEqual(len(names), len(set(names)), name)
            self.assertIn('--help', names)
            for option in tool['options']:
                self.assertTrue(all(re.fullmatch(r'--?[a-zA-Z][a-z0-9-]*', n) for n in option['names']), option)
                self.assertEqual(option['metavar'] is None, option['type'] == 'flag', option)
                self.assertFalse(option['help'].endswith('.'), option)

    def test_values_are_checked(self):
        for name, tool in TOOLS.items():
            for option in tool['options']:
                first = option['names'][0]
                if option['default'] is not None:
                    self.assertEqual(baton(name, first, option['default'], '--help')[0], 0, option)
                if option['type'] in ('int', 'float', 'ints', 'choice', 'choices', 'bool'):
                    status, out, err = baton(name, first, 'x?', '--help')
                    self.assertEqual((status, out), (2, ''), option)
                    self.assertRegex(err, rf"^baton {name}: {first} expects .*, got 'x\?'; see `baton {name} --help`\n$")
                if option['type'] in ('int', 'float') and option['max'] < 1e9:
                    self.assertEqual(baton(name, first, str(option['max'] + 1), '--help')[0], 2, option)
                if option['type'] != 'flag':
                    self.assertEqual(baton(name, first)[0], 2, option)
            self.assertIn('did you mean --help?', baton(name, '--hepl')[2])

    def test_manual_pages_are_sound(self):
        for name in ['', *TOOLS]:
            page = f'{PAGES}/baton-{name}.1' if name else f'{PAGES}/baton.1'
            got = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', page], capture_output=True,
                                 text=True, env={**os.environ, 'LC_ALL': 'C.UTF-8', 'MANROFFSEQ': ''}, timeout=60)
            self.assertEqual((got.returncode, got.stderr), (0, ''), page)

    def test_devices_are_listed_by_every_tool_that_takes_them(self):
        lists = set()
        for name, tool in TOOLS.items():
            takes = any('-dev' in option['names'] for option in tool['options'])
            status, out, err = baton(name, '--list-devices')
            self.assertEqual((status, err) == (0, ''), takes, name)
            if takes:
                lists.add(re.sub(r'\d+ MiB free', '', out))
        out, = lists
        first, *rows = out.splitlines()
        self.assertEqual(first, 'Available devices:')
        for row in rows:
            self.assertRegex(row, r'^  \w+: \S.*$')
        self.assertRegex(rows[0], r'^  CPU: .*\(\d+ MiB, \)$')
        self.assertTrue(any(re.match(r'  null: .*only when named', r) for r in rows))
        self.assertFalse(any('llvmpipe' in r and 'software' not in r for r in rows))

    def test_commands(self):
        status, out, err = baton()
        self.assertEqual((status, out), (2, ''))
        self.assertIn('usage: baton COMMAND', err)
        status, out, err = baton('rnu')
        self.assertEqual((status, out, err), (2, '', "baton: unknown command 'rnu'; `baton --help` lists them\n"))
        status, out, err = baton('--version')
        self.assertEqual(status, 0)
        self.assertRegex(out, r'^baton \d+\.\d+\.\d+\n$')
        with open('/dev/full', 'w') as full:
            got = subprocess.run([BATON, '--help'], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(got.returncode, 1)
        self.assertIn('cannot write the output', got.stderr)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
