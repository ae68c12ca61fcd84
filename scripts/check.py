"""The steps of ./check. Each counts as tests: every test of the suite in every build, every check of scripts/lint, and
the builds themselves. Tests report "skipped: reason" and exit status 77."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINTS = ('format', 'text', 'size', 'layers', 'names', 'headers', 'silent', 'links', 'tidy')
START = time.monotonic()

passed, failed, skipped = [], [], []


def say(text):
    print(text, flush=True)


def step(title):
    say(f'== {title} ({time.monotonic() - START:.0f} s)')


def result(name, ok, output=''):
    """Count one test; show the end of the output of one that failed."""
    (passed if ok else failed).append(name)
    if not ok:
        say(f'FAILED: {name}')
        for line in output.strip().splitlines()[-40:]:
            say(f'    {line}')
    return ok


def skip(name, reason):
    skipped.append((name, reason))


def run(*command, env=None, **kwargs):
    """(success, output) of a command; nobody answers its questions."""
    try:
        out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors='replace', check=False, env={**os.environ, **(env or {})}, **kwargs)
    except OSError as e:
        return False, str(e)
    return out.returncode == 0, out.stdout


def build(folder, *options, env=None):
    """Configure and compile with warnings as errors."""
    options = ('-Dwerror=true', *options)
    stamp = os.path.join(folder, 'check-options')
    wanted = json.dumps([options, env])
    if not os.path.isfile(stamp) or open(stamp, encoding='utf-8').read() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        ok, out = run('meson', 'setup', folder, *options, env=env)
        if not ok:
            return result(f'{folder}: configure', False, out)
        with open(stamp, 'w', encoding='utf-8') as f:
            f.write(wanted)
    ok, out = run('ninja', '-C', folder)
    return result(f'{folder}: build', ok, out)


def suite(folder, *options, env=None, wrapper=()):
    """Run tests of a build and count each."""
    log = os.path.join(folder, 'meson-logs/testlog.json')
    if os.path.exists(log):
        os.remove(log)
    _, out = run(*wrapper, 'meson', 'test', '-C', folder, '--no-rebuild', *options, env=env)
    if not os.path.exists(log):
        if 'No suitable tests' not in out and 'No tests defined' not in out:
            result(f'{folder}: tests', False, out)
        return
    with open(log, encoding='utf-8') as f:
        for test in map(json.loads, f):
            name = f'{folder}: {test["name"]}'
            output = (test.get('stdout') or '') + (test.get('stderr') or '')
            reasons = re.findall(r'\bskipped: (.*)', output)
            if test['result'] == 'SKIP':
                skip(name, reasons[0] if reasons else 'the test gives no reason')
                continue
            result(name, test['result'] in ('OK', 'EXPECTEDFAIL'), f'{test["result"]}\n{output}')
            for reason in reasons:  # a part of a test that passed
                skip(name, reason)


def lint(name, folder):
    ok, out = run('scripts/lint', '--build', folder, name)
    result(f'lint: {name}', ok, out)


def quick():
    step('build')
    if build('build-check', '-Dkernel_targets=true'):
        step('tests')
        suite('build-check', '--no-suite', 'slow', '-t', '4')
    step('rules')
    for name in LINTS:
        lint(name, 'build-check')


def slow():
    suite('build-check', '--suite', 'slow', '-t', '4')


def clang():
    if build('build-clang', env={'CC': 'clang-14'}):
        suite('build-clang', '--no-suite', 'slow', '--no-suite', 'validation', '-t', '4')


def asan():
    """The suite under the address, leak and undefined-behaviour sanitizers, without what does not bear them or has none of them in it:
    Vulkan's layer, and the walk in the emulator, whose kernels are compiled without (tests/gpu/meson.build)."""
    if build('build-asan', '-Dbuildtype=debugoptimized', '-Db_sanitize=address,undefined',
             '-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer'):
        # No fake stack (detect_stack_use_after_return): gcc 12 does not keep locals of 64 bytes' alignment aligned on it
        # (gcc bug 110027), and AVX-512 code that relies on their alignment then faults.
        suite('build-asan', '--no-suite', 'validation', '--no-suite', 'emulator', '-t', '12',
              env={'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=0', 'UBSAN_OPTIONS': 'print_stacktrace=1'})


def tsan():
    """The thread pool and the engine under the race detector; kernels start no threads of their own."""
    # It cannot map its shadow memory where the kernel randomises addresses widely: switch that off for the tests.
    wrapper = ('setarch', os.uname().machine, '-R')
    if not run(*wrapper, 'true')[0]:
        skip('build-tsan', 'this machine does not let setarch switch off address randomisation')
        return
    if build('build-tsan', '-Dbuildtype=debugoptimized', '-Db_sanitize=thread'):
        suite('build-tsan', '--suite', 'base', '--suite', 'engine', '--no-suite', 'slow', '-t', '12', wrapper=wrapper,
              env={'TSAN_OPTIONS': 'halt_on_error=1'})


def arm64():
    """A cross build; all tests of the library under qemu-user, and the goldens through the command line."""
    if build('build-arm64', '--cross-file', 'scripts/cross-aarch64.ini'):
        suites = [x for room in ('base', 'gguf', 'quant', 'text', 'kernels', 'engine', 'golden') for x in ('--suite', room)]
        suite('build-arm64', *suites, '--no-suite', 'slow', '-t', '30')


def fuzz():
    """Half a minute for each target, from its corpus."""
    for name in sorted(re.findall(r'fuzz_(\w+)\.c', ' '.join(os.listdir('tests/fuzz')))):
        result(f'fuzz: {name}', *run('scripts/fuzz', '30', name))


PROGRAM = r'''
#include <baton.h>
#include <stdio.h>
int main(void)
{
	return printf("%s %s\n", baton_version(), baton_status_text(BATON_ERR_NOMEM)) < 0;
}
'''


def install():
    """meson install into a fresh prefix; a program builds and runs against both libraries; the manual pages are there."""
    with tempfile.TemporaryDirectory() as top:
        destination, prefix = os.path.join(top, 'dest'), '/opt/baton'
        here = destination + prefix
        if not build('build-install', '-Dtests=false', f'-Dprefix={prefix}', '-Dlibdir=lib'):
            return
        ok, out = run('meson', 'install', '-C', 'build-install', '--no-rebuild', f'--destdir={destination}')
        if not result('install: meson install', ok, out):
            return
        env = {'PKG_CONFIG_PATH': here + '/lib/pkgconfig', 'PKG_CONFIG_SYSROOT_DIR': destination,
               'LD_LIBRARY_PATH': here + '/lib'}
        source = os.path.join(top, 'hello.c')
        with open(source, 'w', encoding='utf-8') as f:
            f.write(PROGRAM)
        version = run(here + '/bin/baton', '--version')[1].split()[-1:]
        for kind, flags in (('shared', ()), ('static', ('--static',))):
            # Libraries of the system are not below the destination: take the sysroot out of their paths again.
            _, found = run('pkg-config', *flags, '--cflags', '--libs', 'baton', env=env)
            found = [w.replace(destination + '/usr', '/usr') for w in found.split()]
            if kind == 'static':
                found = [here + '/lib/libbaton.a' if w == '-lbaton' else w for w in found]
            program = os.path.join(top, kind)
            ok, out = run('gcc', '-o', program, source, *found)
            if ok:
                ok, out = run(program, env=env)
                ok = ok and out.split()[:1] == version
            result(f'install: a program with the {kind} library', ok, out)
            linked = 'libbaton.so.0' in run('ldd', program, env=env)[1]
            result(f'install: the {kind} program needs {"a" if kind == "shared" else "no"} libbaton.so.0',
                   linked == (kind == 'shared'))
        _, out = run('nm', '-D', '--defined-only', here + '/lib/libbaton.so')
        foreign = [line for line in out.splitlines() if not re.search(r' baton_\w+$', line)]
        result('install: the shared library exports baton_* only', bool(out) and not foreign, '\n'.join(foreign))
        manuals(here)


def manuals(here):
    """A manual page for baton and each command, which man can show without a complaint."""
    _, out = run(here + '/bin/baton', '--help')
    commands = re.findall(r'^  ([a-z]+) ', out, re.M)
    for page in ['baton'] + ['baton-' + c for c in commands]:
        path = os.path.join(here, 'share/man/man1', page + '.1')
        if not os.path.exists(path):
            result(f'install: {page}.1', False, f'{path} is missing')
            continue
        ok, out = run('man', '--warnings', '-l', path, env={'MANPAGER': 'cat', 'MANROFFSEQ': '', 'LC_ALL': 'C.UTF-8'})
        result(f'install: {page}.1', ok and 'warning' not in out, out)


FULL = {'slow': slow, 'clang': clang, 'asan': asan, 'tsan': tsan, 'arm64': arm64, 'fuzz': fuzz, 'install': install}


def main():
    parser = argparse.ArgumentParser(prog='check', description='Builds, tests and checks of style.')
    parser.add_argument('--full', action='store_true', help='also ' + ', '.join(FULL))
    parser.add_argument('--only', metavar='STEP', action='append', help='one step: quick, ' + ', '.join(FULL))
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ['PATH'] = '/usr/lib/ccache:' + os.environ['PATH']
    os.environ['BATON_SPIRV_CACHE'] = os.path.join(ROOT, '.cache/spirv')  # one for all build folders
    step('packages')
    group = 'full' if args.full or args.only else 'test'
    result(f'packages: scripts/deps {group}', *run('scripts/deps', group))
    steps = {'quick': quick, **(FULL if args.full or args.only else {})}
    for name in args.only or steps:
        if name not in steps:
            sys.exit(f'check: no step {name}; there are {", ".join(steps)}')
        if name != 'quick':
            step(name)
        steps[name]()
    step('done')
    for name in failed:
        say(f'failed: {name}')
    for name, reason in skipped:
        say(f'skipped: {name}: {reason}')
    say(f'{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
